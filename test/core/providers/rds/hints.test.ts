import { explainRefusal } from '../../../../core/providers/rds/hints.js'
import { createRds } from '../../../../core/providers/rds/rds.js'
import { errorResponse } from '../../support/backend-messages.js'
import { createAuthority } from '../../support/certificates.js'
import { receiveLogin, startStandIn } from '../../support/postgres-stand-in.js'
import { startRawClient } from '../../support/raw-client.js'
import { RDS_HOST, RDS_OPTIONS } from '../../support/rds-options.js'

const hintFor = (message: string, user = 'app'): string | undefined =>
  explainRefusal({ sqlState: '28000', message, user })

describe('the hint for a rejected login', () => {
  it.each([
    ['PAM authentication failed for user "app"', /rds-db:connect .* iam-db-auth-error/s],
    [
      'The IAM authentication failed for the role app. Check the IAM token for this role and try again.',
      /RDS Proxy rejected the token.*prx-/s,
    ],
    [
      'IAM authentication failed for user app. Check the IAM token for this user and try again.',
      /RDS Proxy rejected the token/,
    ],
    [
      'This RDS proxy has no credentials for the role app. Check the credentials for this role and try again.',
      /a secret for "app" in Secrets Manager/,
    ],
    ['The password that was provided for the role app is wrong.', /enable IAM authentication/],
    [
      'no pg_hba.conf entry for host "10.0.0.1", user "app", database "shop", SSL off',
      /reached the database without TLS/,
    ],
    [
      'no pg_hba.conf entry for host "10.0.0.1", user "app", database "shop", no encryption',
      /reached the database without TLS/,
    ],
    [
      'pg_hba.conf rejects connection for host "10.0.0.1", user "app", database "shop", no encryption',
      /reached the database without TLS/,
    ],
    [
      'no pg_hba.conf entry for host "10.0.0.1", user "app", database "shop", SSL encryption',
      /does not allow "app" to log in from this address/,
    ],
    ['password authentication failed for user "app"', /GRANT rds_iam TO "app"/],
    ['role "app" does not exist', /CREATE ROLE "app" LOGIN; GRANT rds_iam TO "app"/],
    ['role "app" is not permitted to log in', /ALTER ROLE "app" LOGIN/],
  ])('%s', (message, hint) => {
    expect(hintFor(message)).toMatch(hint)
  })

  it('quotes the name of a role as in SQL', () => {
    expect(hintFor('role "o""x" does not exist', 'o"x')).toContain('CREATE ROLE "o""x" LOGIN')
  })

  it('is absent if the error needs no explanation', () => {
    expect(hintFor('database "shop" does not exist')).toBeUndefined()
    expect(hintFor('remaining connection slots are reserved')).toBeUndefined()
  })

  it('is added to the error of a rejected login', async () => {
    const authority = await createAuthority()
    const keys = await authority.issue(RDS_HOST)
    const server = await startStandIn(async (socket, pair) => {
      const { socket: secured } = await receiveLogin(socket, pair)
      secured.end(errorResponse('28000', 'PAM authentication failed for user "app"'))
    }, keys)
    const connectTo = { host: '127.0.0.1', port: server.port }
    const login = createRds({ ...RDS_OPTIONS, connectTo, tls: { ca: authority.ca } }, {})
    const client = startRawClient(login)
    await client.closed
    expect(client.received().toString()).toContain('HRDS rejected the token.')
    await server.close()
  })
})
