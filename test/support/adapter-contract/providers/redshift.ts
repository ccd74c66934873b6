/** Redshift for the contract: the real SDK requests passwords from a local emulation of its API. */
import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import {
  redshift,
  type AwsCredentialsProvider,
  type RedshiftOptions,
} from '../../../../core/index.js'
import { startRedshiftApi, type RedshiftApi } from '../../aws/redshift-api.js'
import type { ContractProvider, ProviderStand } from '../contract-provider.js'
import { AWS_FAILURES } from '../failures.js'
import { issueAwsKeys, permanentKeys } from './aurora-dsql.js'

const HOST = 'contract.abcdefghijkl.eu-west-1.redshift.amazonaws.com'
const USER = 'IAMR:contract'
const LIFE_MS = 900_000

/** Suppresses the SDK's warnings about Node versions that will not be supported. */
const QUIET = { AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' }

export const redshiftContract: ContractProvider = {
  name: 'redshift',
  sharesTokens: true,
  refusedWith: '28P01',
  failures: AWS_FAILURES,
  login: (options, request) =>
    redshift({
      ...(options as RedshiftOptions),
      credentials: request as AwsCredentialsProvider,
    }),
  start: () => startStand(),
}

/** @param answerAfterMs how long the API takes for each password */
export async function startStand(answerAfterMs = 0): Promise<ProviderStand> {
  const revoked = new Set<string | undefined>()
  const given: string[] = []
  let known: { password: string; until: number } | undefined
  const api = await startRedshiftApi(async ({ signer }) => {
    await pause(answerAfterMs)
    const password = randomBytes(32).toString('base64url')
    const expiration = new Date(Date.now() + LIFE_MS)
    given.push(password)
    if (!revoked.has(signer?.accessKeyId)) known = { password, until: expiration.getTime() }
    return { user: USER, password, expiration }
  })
  const forget = pointSdkTo(api)
  return {
    gatewayOptions: {
      endpoints: [
        {
          provider: 'password',
          hosts: [HOST],
          method: 'md5',
          users: (role) =>
            role === USER && known !== undefined && Date.now() < known.until
              ? known.password
              : undefined,
        },
      ],
      roles: [USER],
    },
    options: { host: HOST, database: 'postgres' },
    role: USER,
    environment: { ...api.env, ...QUIET },
    async issue(gateway, life) {
      const issued = await issueAwsKeys(gateway, life)
      const { accessKeyId } = issued.given as { accessKeyId: string }
      return { ...issued, revoke: () => void revoked.add(accessKeyId) }
    },
    issueForever: permanentKeys,
    watchSecrets() {
      const before = given.length
      return () => given.slice(before)
    },
    async close() {
      forget()
      await api.close()
    },
  }
}

/** The SDK reads the address of the API only from the environment. */
function pointSdkTo({ env }: RedshiftApi): () => void {
  const before = Object.keys(env).map((name) => [name, process.env[name]] as const)
  Object.assign(process.env, env)
  return () => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  }
}
