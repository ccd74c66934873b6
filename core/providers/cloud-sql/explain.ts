/** What to do about an instance that refuses a login, or that is not trusted. */
import type { Refusal } from '../../connection/authenticate.js'
import { isDenied } from '../../connection/refusal-codes.js'
import { isUntrustedCertificate, isWrongCertificate } from '../../tls/certificate-errors.js'

/** Returns what the server's own error does not say: that says who was refused, and nothing more. */
export function explainRefusal({ sqlState, message, user }: Refusal): string | undefined {
  if (!isDenied(sqlState)) return undefined
  if (message.includes('client certificate'))
    return "This instance wants client certificates, which only Google's connectors and Auth Proxy can get. Connect with those, or set its SSL mode to ENCRYPTED_ONLY."
  return `The token must be one of "${user}" (a service account without ".gserviceaccount.com"), who must be a user of the instance and have the role roles/cloudsql.instanceUser, and the flag cloudsql.iam_authentication must be on.`
}

/** Returns where the authority of an instance is to be had, and what its certificate holds. */
export function explainUntrusted(error: unknown, host: string): string | undefined {
  if (isUntrustedCertificate(error))
    return `Who signed the certificate of ${host} is not trusted here, and Node knows no authority of Cloud SQL. Download it (gcloud sql ssl server-ca-certs list --instance=INSTANCE --format="value(cert)" > server-ca.pem) and give it as tls: { ca: 'server-ca.pem' }.`
  if (isWrongCertificate(error))
    return 'Give what the certificate of the instance holds: its connection name as instance: "PROJECT:REGION:INSTANCE", or its DNS name as "host" or tls: { servername }.'
  return undefined
}
