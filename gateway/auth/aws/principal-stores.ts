/** The principals of all endpoints together: some endpoints have their own, the others share those of the gateway. */
import type { Endpoint } from '../endpoint.js'
import type { GatewayCredentials, TemporaryCredentials } from './gateway-credentials.js'
import type { Principals } from './principals.js'
import { issueTemporaryCredentials, type IssueOptions } from './temporary-credentials.js'

export interface PrincipalStores {
  /** Those of the first principal of the first AWS endpoint. */
  readonly credentials: GatewayCredentials
  issue(options: IssueOptions): TemporaryCredentials
  /** Refuses the access key wherever it is known. Returns `false` for one that is known nowhere. */
  revoke(accessKeyId: string): boolean
}

/** @param shared for a gateway without an AWS endpoint, too: it then has credentials that let nobody in */
export function createPrincipalStores(
  endpoints: readonly Endpoint[],
  shared: Principals,
  clock: () => number,
): PrincipalStores {
  const ofAws = endpoints.flatMap(({ hosts, principals }) =>
    principals === undefined ? [] : [{ hosts, principals }],
  )
  const first = ofAws[0]?.principals ?? shared
  const stores = new Set([...ofAws.map(({ principals }) => principals), shared])
  return {
    credentials: first.credentials(),
    issue: (options) =>
      issueTemporaryCredentials(
        (host) =>
          host === undefined ? first : ofAws.find(({ hosts }) => hosts.includes(host))?.principals,
        clock,
        options,
      ),
    revoke: (accessKeyId) => [...stores].map((store) => store.revoke(accessKeyId)).includes(true),
  }
}
