/** The identities of docs/aws-identities.md. Each gets real credentials, signs a real token, and logs in through the gateway. */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { Pool } from 'pg'
import { createPool } from '../../../../adapters/pg.js'
import { auroraDsql, type AuroraDsqlOptions, type Login } from '../../../../core/index.js'
import { startGateway, type Gateway } from '../../../../gateway/index.js'
import {
  startContainerAgent,
  type ContainerAgent,
} from '../../../support/aws/container-credentials.js'
import {
  startSts,
  type RoleCredentials,
  type StsRequest,
  type StsStandIn,
} from '../../../support/aws/sts.js'
import { createAwsFiles, type AwsFiles } from '../../support/aws-files.js'
import { rejectionOf } from '../../support/caught.js'
import { CREDENTIALS } from '../../support/dsql-options.js'
import { printed } from '../../support/printed.js'

const ROLE = 'arn:aws:iam::123456789012:role/app'
const OTHER_ROLE = 'arn:aws:iam::210987654321:role/partner'
const surroundings = process.env

let gateway: Gateway
let files: AwsFiles
let sts: StsStandIn
let agent: ContainerAgent
let pool: Pool | undefined
/** Whether STS gives a role to the caller. */
let allows: (request: StsRequest) => boolean
let agentToken = ''

/** Credentials that the gateway accepts, as STS would return them. */
const issued = (): RoleCredentials => gateway.issueCredentials({ durationSecs: 3_600 })

beforeAll(async () => {
  gateway = await startGateway()
  files = createAwsFiles({})
  sts = await startSts((request) => (allows(request) ? issued() : 'AccessDenied'))
  agent = await startContainerAgent(() => agentToken, issued)
})
beforeEach(() => {
  process.env = {
    ...files.env,
    PATH: surroundings['PATH'],
    AWS_ENDPOINT_URL_STS: sts.url,
    AWS_MAX_ATTEMPTS: '1',
  }
  allows = () => false
})
afterEach(async () => {
  await pool?.end()
  pool = undefined
  process.env = surroundings
})
afterAll(async () => {
  await agent.close()
  await sts.close()
  files.remove()
  await gateway.close()
})

/** A login as in an application, which has only the address of the gateway. */
function login(options: AuroraDsqlOptions = {}): Login {
  const { clusters, host, port, ca } = gateway
  return auroraDsql({
    host: clusters[0]!,
    user: 'app',
    connectTo: { host, port },
    tls: { ca },
    ...options,
  })
}

async function logsIn(own: Login): Promise<void> {
  pool = createPool(own, { max: 1 })
  const { rows } = await pool.query('SELECT current_user AS "user"')
  expect(rows).toEqual([{ user: 'app' }])
}

/** Writes a file like a projected token of Kubernetes. */
function projected(name: string, token: string): string {
  const path = join(files.env['HOME']!, name)
  writeFileSync(path, token)
  return path
}

describe('an EKS service account with IRSA', () => {
  const isMine = ({ signer, parameters }: StsRequest): boolean =>
    signer === undefined &&
    parameters['Action'] === 'AssumeRoleWithWebIdentity' &&
    parameters['RoleArn'] === ROLE &&
    parameters['WebIdentityToken'] === 'CANARY token of the pod'

  it('logs in with the environment of the pod', async () => {
    allows = isMine
    process.env['AWS_ROLE_ARN'] = ROLE
    process.env['AWS_WEB_IDENTITY_TOKEN_FILE'] = projected('irsa', 'CANARY token of the pod')
    await logsIn(login())
  })

  it('reports the error of STS, and exposes no token', async () => {
    process.env['AWS_ROLE_ARN'] = ROLE
    process.env['AWS_WEB_IDENTITY_TOKEN_FILE'] = projected('irsa', 'CANARY token of the pod')
    const error = await rejectionOf(login().token())
    expect(error).toMatchObject({
      code: 'ERR_CREDENTIALS_UNAVAILABLE',
      cause: expect.objectContaining({ name: 'AccessDenied' }),
      hint: expect.stringContaining('web identity'),
    })
    expect(printed(error)).not.toContain('CANARY')
  })
})

describe('an EKS service account with Pod Identity', () => {
  beforeEach(() => {
    agentToken = 'CANARY token of the pod'
    process.env['AWS_CONTAINER_CREDENTIALS_FULL_URI'] = agent.url
  })

  it('logs in with the credentials of the agent', async () => {
    process.env['AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE'] = projected('pod', agentToken)
    await logsIn(login())
    expect(agent.authorizations).toContain(agentToken)
  })

  it('assumes another role, in another account', async () => {
    process.env['AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE'] = projected('pod', agentToken)
    allows = ({ signer, parameters }) =>
      signer?.accessKeyId.startsWith('ASIA') === true && parameters['RoleArn'] === OTHER_ROLE
    await logsIn(login({ assumeRole: { roleArn: OTHER_ROLE } }))
  })
})

describe('a role in another account', () => {
  it('is assumed with its external ID and a session name', async () => {
    allows = ({ signer, parameters }) =>
      signer?.hasSignedWith(CREDENTIALS.secretAccessKey) === true &&
      parameters['RoleArn'] === OTHER_ROLE &&
      parameters['ExternalId'] === 'shop-1' &&
      parameters['RoleSessionName'] === 'orders'
    const role = { roleArn: OTHER_ROLE, externalId: 'shop-1', sessionName: 'orders' }
    await logsIn(login({ credentials: CREDENTIALS, assumeRole: role }))
    const error = await rejectionOf(
      login({ credentials: CREDENTIALS, assumeRole: { roleArn: OTHER_ROLE } }).token(),
    )
    expect(error).toMatchObject({ cause: expect.objectContaining({ name: 'AccessDenied' }) })
  })

  it('is assumed through another role', async () => {
    const keys: string[] = []
    allows = ({ signer, parameters }) => {
      keys.push(signer?.accessKeyId ?? '')
      return parameters['RoleArn'] === (keys.length === 1 ? ROLE : OTHER_ROLE)
    }
    const assumeRole = [{ roleArn: ROLE }, { roleArn: OTHER_ROLE }]
    await logsIn(login({ credentials: CREDENTIALS, assumeRole }))
    expect(keys).toEqual([CREDENTIALS.accessKeyId, expect.stringMatching(/^ASIA/)])
  })
})

describe('a Vercel function', () => {
  /** A JSON Web Token with the claims that Vercel's package reads. */
  const token = ['CANARY', { exp: Math.floor(Date.now() / 1_000) + 3_600 }, 'signature']
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.')

  it('logs in within a request, fails outside a request with a reason, and keeps its credentials', async () => {
    allows = ({ parameters }) =>
      parameters['Action'] === 'AssumeRoleWithWebIdentity' &&
      parameters['RoleArn'] === ROLE &&
      parameters['WebIdentityToken'] === token
    const { clusters, host, port, ca } = gateway
    const options = { host: clusters[0], user: 'app', connectTo: { host, port }, tls: { ca } }
    const report = await runVercelFunction({ options, roleArn: ROLE, token })
    expect(report).toEqual({
      outside: {
        code: 'ERR_CREDENTIALS_UNAVAILABLE',
        hint: 'Called the function given as "credentials".',
        cause: expect.stringContaining("The 'x-vercel-oidc-token' header is missing"),
      },
      within: [{ user: 'app' }],
      later: [{ user: 'app' }],
      // One failed call, and one for everything after it.
      credentialCalls: 2,
    })
  })
})

/** In a separate process: Vercel's package loads parts of itself in a way that jest does not support. */
async function runVercelFunction(order: object): Promise<unknown> {
  const support = join(process.cwd(), 'test', 'support')
  const child = spawn(
    process.execPath,
    ['--require', join(support, 'typescript-hook.cjs'), '--eval', PROGRAM, support],
    { env: process.env, timeout: 40_000 },
  )
  child.stdin.end(JSON.stringify(order))
  const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr)])
  if (output === '') throw new Error(errors)
  return JSON.parse(output)
}

const PROGRAM = `require(process.argv[1] + '/aws/vercel-function.ts')`
