import type { Gateway } from '../../../gateway/index.js'
import { recordLog, usePostgres } from '../upstream-gateway.js'
import { DSQL, PLAIN, RDS, currentUser } from './several-endpoints.js'

const server = usePostgres()
const log = recordLog()

describe('the principals of AWS endpoints', () => {
  const shared = { accessKeyId: 'AKIDSHARED', secretAccessKey: 'shared', roles: ['app'] }
  const own = { accessKeyId: 'AKIDOWN', secretAccessKey: 'own', roles: ['report'] }
  let both: Gateway
  beforeAll(async () => {
    both = await server.start({
      logger: log.logger,
      endpoints: [
        { provider: 'rds', hosts: [RDS], principals: [own] },
        { provider: 'aurora-dsql', hosts: [DSQL] },
      ],
      principals: [shared],
      roles: ['app', 'admin', 'report'],
    })
  })

  it('are the endpoint’s own, else those of the gateway', async () => {
    expect(both.credentials.accessKeyId).toBe('AKIDOWN')
    expect(both.login({ host: RDS }).user).toBe('report')
    expect(both.login({ host: DSQL }).user).toBe('app')
    expect(await currentUser(both, { host: DSQL })).toBe('app')
    await expect(
      currentUser(both, { host: RDS, user: 'report', credentials: shared }),
    ).rejects.toMatchObject({ code: '28000' })
    await log.refusal('access-key-unknown')
    await expect(
      currentUser(both, { host: DSQL, user: 'app', credentials: own }),
    ).rejects.toMatchObject({ code: '08006' })
    await log.refusal('access-key-unknown')
  })

  it('get temporary credentials for the endpoint that is named, else for the first', async () => {
    const first = both.issueCredentials({ roles: ['app'] })
    expect(await currentUser(both, { host: RDS, user: 'app', credentials: first })).toBe('app')
    const named = both.issueCredentials({ host: DSQL })
    expect(await currentUser(both, { host: DSQL, credentials: named })).toBe('app')
    await expect(
      currentUser(both, { host: RDS, user: 'app', credentials: named }),
    ).rejects.toMatchObject({ code: '28000' })
    await log.refusal('access-key-unknown')
    expect(() => both.issueCredentials({ host: PLAIN })).toThrow(
      expect.objectContaining({ code: 'ERR_OPTION_INVALID' }),
    )
  })

  it('are revoked wherever they are known', async () => {
    const issued = both.issueCredentials({ host: DSQL })
    expect(both.revokeCredentials(issued.accessKeyId)).toBe(true)
    await expect(currentUser(both, { host: DSQL, credentials: issued })).rejects.toMatchObject({
      code: '08006',
    })
    await log.refusal('access-key-revoked')
    expect(both.revokeCredentials('AKIDNOBODY')).toBe(false)
  })
})
