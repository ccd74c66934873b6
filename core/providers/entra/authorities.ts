/** Trust in the public certificate authorities that sign for Azure Database for PostgreSQL. */
import type { Environment } from '../../options/common-options.js'
import { explainUntrusted } from '../../tls/certificate-errors.js'
import { cloudAuthorities } from '../../tls/trusted-authorities.js'

/** Resolves with what to trust for its servers, as `cloudAuthorities` does. */
export async function azureAuthorities(env: Environment): Promise<string | undefined> {
  const { AZURE_ROOTS } = await import('./azure-roots.js')
  return cloudAuthorities(AZURE_ROOTS, env)
}

/** Returns what to do about a server that is not trusted, or `undefined` for another kind of error. */
export function explainUntrustedAzure(error: unknown, host: string): string | undefined {
  return explainUntrusted(
    error,
    host,
    "Azure's (https://learn.microsoft.com/azure/postgresql/security/security-tls)",
  )
}
