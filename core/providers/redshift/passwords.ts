/** Temporary passwords of Amazon Redshift. */
import { PgIamError } from '../../errors.js'
import { peerError } from '../../load-peer.js'
import { withTokenTimeout } from '../../tokens/token-source.js'
import {
  isTransientFailure,
  type PartNames,
  type Received,
  receivedToken,
  type Token,
} from '../../tokens/token.js'
import { redactSdkError } from '../aws/credentials-provider.js'
import type { AwsCredentials, CredentialsSource } from '../aws/credentials.js'
import { type RedshiftEndpoint, redshiftEndpoint } from '../host-names.js'

// The target of a password: a cluster, a workgroup, or the one of a custom domain name.

interface RedshiftTarget {
  kind: RedshiftEndpoint['kind']
  /** The cluster identifier, or the name of the workgroup; `undefined` if the host is a custom domain name. */
  name: string | undefined
  /** From the host name, if it contains the region. */
  region: string | undefined
}

interface TargetOptions {
  clusterIdentifier?: string
  workgroupName?: string
  customDomain?: RedshiftEndpoint['kind']
}

/**
 * Throws `ERR_OPTION_INVALID` if neither the host nor an option names the target, and `ERR_OPTION_CONFLICT` if they contradict each other.
 */
export function redshiftTarget(host: string, options: TargetOptions): RedshiftTarget {
  const endpoint = redshiftEndpoint(host)
  const [option, ...others] = (
    ['clusterIdentifier', 'workgroupName', 'customDomain'] as const
  ).filter((name) => options[name] !== undefined)
  if (others[0] !== undefined) {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"${option}" and "${others[0]}" must not be given together`,
    )
  }
  if (option === undefined) {
    if (endpoint !== undefined) return endpoint
    throw new PgIamError(
      'ERR_OPTION_INVALID',
      '"clusterIdentifier", "workgroupName" or "customDomain" must be given if "host" is not a Redshift endpoint name',
      {
        hint: 'Give customDomain: "cluster" or "workgroup" if "host" is a custom domain name. For a tunnel give the endpoint name as "host", and the address of the tunnel as "connectTo".',
      },
    )
  }
  const kind = options.customDomain ?? (option === 'clusterIdentifier' ? 'cluster' : 'workgroup')
  // Redshift-managed VPC endpoints also have such names, which do not contain the cluster or workgroup.
  if (endpoint !== undefined && (endpoint.kind !== kind || option === 'customDomain')) {
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"${option}" must not be given if "host" is an endpoint name of a ${endpoint.kind}`,
    )
  }
  return {
    kind,
    name: options.clusterIdentifier ?? options.workgroupName,
    region: endpoint?.region,
  }
}

// Temporary passwords, which are returned together with the database user.

interface PasswordSettings {
  host: string
  region: string
  kind: RedshiftEndpoint['kind']
  /** The cluster identifier, or the name of the workgroup; `undefined` if the host is a custom domain name. */
  name: string | undefined
  database: string
  /** The user chosen by the caller, if any. */
  chosen: ChosenUser | undefined
  /** `undefined` leaves it to the SDK. */
  apiEndpoint: string | undefined
  durationSecs: number
  tokenTimeoutMs: number
  credentials: CredentialsSource
}

/** Creates the function that requests a password. The SDK is loaded for the first one. */
export function redshiftPasswordIssuer(settings: PasswordSettings): () => Promise<Token> {
  const { host, credentials, tokenTimeoutMs } = settings
  const { ask, names, explain } = apiFor(settings)
  const purpose = `redshift: could not get a token for ${host}`
  const askOnce = async (signal: AbortSignal): Promise<Token> => {
    const answer = await ask({ ...settings, credentials: await credentials(), signal })
    return receivedToken(answer, `redshift: the password for ${host}`, names)
  }
  return () =>
    withTokenTimeout(tokenTimeoutMs, purpose, async (signal) => {
      try {
        return await askOnce(signal)
      } catch (error) {
        if (!isIdentityRefused(error) || !(await credentials.renewAfterRefusal()))
          throw asRequestError(error, purpose, explain(error, settings))
      }
      try {
        return await askOnce(signal)
      } catch (error) {
        throw asRequestError(error, purpose, explain(error, settings))
      }
    })
}

function apiFor({ kind, chosen }: PasswordSettings): PasswordApi {
  if (kind === 'workgroup') return workgroupPassword
  return chosen === undefined ? clusterPassword : chosenUserPassword
}

/** Keys may be revoked or rotated before they expire: https://docs.aws.amazon.com/redshift/latest/APIReference/CommonErrors.html */
function isIdentityRefused(error: unknown): boolean {
  const { name } = (error ?? {}) as { name?: unknown }
  return REFUSED_IDENTITIES.some((known) => known === name)
}

const REFUSED_IDENTITIES = [
  'ExpiredToken',
  'ExpiredTokenException',
  'InvalidClientTokenId',
  'UnrecognizedClientException',
]

/** Adds a hint to errors of the service. Other errors are returned unchanged. */
function asRequestError(cause: unknown, purpose: string, hint: string | undefined): unknown {
  if (hint === undefined) return cause
  return new PgIamError('ERR_TOKEN_REQUEST_FAILED', purpose, {
    cause,
    hint,
    retryable: isTransientFailure(cause),
  })
}

// The common interface of Redshift's password APIs.

interface PasswordRequest {
  host: string
  region: string
  /** `undefined` if the host is a custom domain name. */
  name: string | undefined
  database: string
  /** The user chosen by the caller, if any. */
  chosen: ChosenUser | undefined
  /** `undefined` leaves it to the SDK. */
  apiEndpoint: string | undefined
  durationSecs: number
  credentials: AwsCredentials
  signal: AbortSignal
}

/** A database user of a provisioned cluster. */
export interface ChosenUser {
  user: string
  groups: readonly string[] | undefined
  /** Whether to create the user if it does not exist. */
  create: boolean
}

interface PasswordApi {
  ask(request: PasswordRequest): Promise<Received>
  /** The names of the response's fields. */
  readonly names: PartNames
  /** Returns a hint for an error of the service, or `undefined` if it needs none. */
  explain(
    error: unknown,
    place: Pick<PasswordRequest, 'name' | 'database' | 'region' | 'chosen'>,
  ): string | undefined
}

/** The configuration of an SDK client. */
function clientConfig({
  region,
  credentials,
  apiEndpoint,
}: Pick<PasswordRequest, 'region' | 'credentials' | 'apiEndpoint'>): {
  region: string
  credentials: AwsCredentials
  endpoint?: string
} {
  return { region, credentials, ...(apiEndpoint === undefined ? {} : { endpoint: apiEndpoint }) }
}

/** Whether an AWS SDK error has one of these names. The services use several names for the same error. */
function isNamed(error: unknown, ...names: readonly string[]): boolean {
  const { name } = (error ?? {}) as { name?: unknown }
  return names.some((known) => known === name)
}

const ACCESS_DENIED = ['AccessDenied', 'AccessDeniedException', 'UnauthorizedOperation'] as const

// Passwords for provisioned clusters, through `GetClusterCredentialsWithIAM`.

/** See https://docs.aws.amazon.com/redshift/latest/APIReference/API_GetClusterCredentialsWithIAM.html */
const clusterPassword: PasswordApi = {
  names: { value: 'DbPassword', expiresAt: 'Expiration', user: 'DbUser' },

  async ask({ host, name, database, durationSecs, signal, ...from }) {
    const { RedshiftClient, GetClusterCredentialsWithIAMCommand } = await loadSdk()
    const client = new RedshiftClient(clientConfig(from))
    const command = new GetClusterCredentialsWithIAMCommand({
      DbName: database,
      DurationSeconds: durationSecs,
      ...(name === undefined ? { CustomDomainName: host } : { ClusterIdentifier: name }),
    })
    try {
      const answer = await redactSdkError(client.send(command, { abortSignal: signal }))
      // `null`, not `undefined`, so that a missing user is rejected.
      return {
        value: answer.DbPassword,
        expiresAt: answer.Expiration,
        user: answer.DbUser ?? null,
      }
    } finally {
      client.destroy()
    }
  },

  explain(error, { name = 'CLUSTER', database, region }) {
    if (isNamed(error, ...ACCESS_DENIED))
      return `Allow redshift:GetClusterCredentialsWithIAM on arn:aws:redshift:${region}:ACCOUNT:dbname:${name}/${database}.`
    if (isNamed(error, 'ClusterNotFound', 'ClusterNotFoundFault'))
      return 'Check the cluster identifier, the region, and the account of the credentials; a VPC endpoint needs "clusterIdentifier".'
    return undefined
  },
}

async function loadSdk(): Promise<typeof import('@aws-sdk/client-redshift')> {
  try {
    return await import('@aws-sdk/client-redshift')
  } catch (error) {
    throw peerError(error, '@aws-sdk/client-redshift')
  }
}

// Passwords for serverless workgroups, through `GetCredentials`.

/** See https://docs.aws.amazon.com/redshift-serverless/latest/APIReference/API_GetCredentials.html */
const workgroupPassword: PasswordApi = {
  names: { value: 'dbPassword', expiresAt: 'expiration', user: 'dbUser' },

  async ask({ host, name, database, durationSecs, signal, ...from }) {
    const { RedshiftServerlessClient, GetCredentialsCommand } = await loadServerlessSdk()
    const client = new RedshiftServerlessClient(clientConfig(from))
    const command = new GetCredentialsCommand({
      dbName: database,
      durationSeconds: durationSecs,
      ...(name === undefined ? { customDomainName: host } : { workgroupName: name }),
    })
    try {
      const answer = await redactSdkError(client.send(command, { abortSignal: signal }))
      // `null`, not `undefined`, so that a missing user is rejected.
      return {
        value: answer.dbPassword,
        expiresAt: answer.expiration,
        user: answer.dbUser ?? null,
      }
    } finally {
      client.destroy()
    }
  },

  explain(error) {
    if (isNamed(error, ...ACCESS_DENIED))
      return 'Allow redshift-serverless:GetCredentials on the ARN of the workgroup, which ends with its ID, not with its name.'
    if (isNamed(error, 'ResourceNotFoundException'))
      return 'Check the name of the workgroup, the region, and the account of the credentials; a VPC endpoint needs "workgroupName".'
    return undefined
  },
}

async function loadServerlessSdk(): Promise<typeof import('@aws-sdk/client-redshift-serverless')> {
  try {
    return await import('@aws-sdk/client-redshift-serverless')
  } catch (error) {
    throw peerError(error, '@aws-sdk/client-redshift-serverless')
  }
}

// Passwords for a chosen user of a provisioned cluster, through `GetClusterCredentials`.

/** See https://docs.aws.amazon.com/redshift/latest/APIReference/API_GetClusterCredentials.html */
const chosenUserPassword: PasswordApi = {
  // The user is returned as `IAM:NAME`, or as `IAMA:NAME` with `AutoCreate`, and must log in under that name.
  names: clusterPassword.names,

  async ask({ host, name, database, chosen, durationSecs, signal, ...from }) {
    const { RedshiftClient, GetClusterCredentialsCommand } = await loadSdk()
    const client = new RedshiftClient(clientConfig(from))
    const { user, groups, create } = chosen!
    const command = new GetClusterCredentialsCommand({
      DbUser: user,
      DbName: database,
      DurationSeconds: durationSecs,
      ...(create ? { AutoCreate: true } : {}),
      ...(groups === undefined ? {} : { DbGroups: [...groups] }),
      ...(name === undefined ? { CustomDomainName: host } : { ClusterIdentifier: name }),
    })
    try {
      const answer = await redactSdkError(client.send(command, { abortSignal: signal }))
      // `null`, not `undefined`, so that a missing user is rejected.
      return {
        value: answer.DbPassword,
        expiresAt: answer.Expiration,
        user: answer.DbUser ?? null,
      }
    } finally {
      client.destroy()
    }
  },

  explain(error, place) {
    if (!isNamed(error, ...ACCESS_DENIED)) return clusterPassword.explain(error, place)
    const { name = 'CLUSTER', database, region, chosen } = place
    const arn = (kind: string, of: string): string =>
      `arn:aws:redshift:${region}:ACCOUNT:${kind}:${name}/${of}`
    const { user, groups = [], create } = chosen!
    return [
      `Allow redshift:GetClusterCredentials on ${arn('dbuser', user)} and ${arn('dbname', database)}`,
      ...(create ? [`redshift:CreateClusterUser on ${arn('dbuser', user)}`] : []),
      ...(groups.length === 0
        ? []
        : [`redshift:JoinGroup on ${groups.map((group) => arn('dbgroup', group)).join(', ')}`]),
    ]
      .join('; ')
      .concat('.')
  },
}
