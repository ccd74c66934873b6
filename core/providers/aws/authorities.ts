/** Trust in Amazon's public certificate authorities, which sign for Aurora DSQL, Redshift and RDS Proxy. */
import type { Environment } from '../../options/common-options.js'
import { explainUntrusted } from '../../tls/certificate-errors.js'
import { cloudAuthorities } from '../../tls/trusted-authorities.js'

/** Resolves with what to trust for their endpoints, as `cloudAuthorities` does. */
export async function amazonAuthorities(env: Environment): Promise<string | undefined> {
  const { AMAZON_ROOTS } = await import('./amazon-roots.js')
  return cloudAuthorities(AMAZON_ROOTS, env)
}

/** Returns what to do about an endpoint that is not trusted, or `undefined` for another kind of error. */
export function explainUntrustedAmazon(error: unknown, host: string): string | undefined {
  return explainUntrusted(error, host, "Amazon's (https://www.amazontrust.com/repository/)")
}
