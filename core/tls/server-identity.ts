/** Whether the certificate of a server is that of the server that is meant. */
import { X509Certificate } from 'node:crypto'
import { checkServerIdentity, type PeerCertificate } from 'node:tls'
import { isIpAddress } from '../options/ip-address.js'

/**
 * Returns why a certificate, which a trusted authority has signed, is not one for `name`, or `undefined` where it is. The error has the
 * code `ERR_TLS_CERT_ALTNAME_INVALID`, as Node's own has.
 *
 * Host names are Node's to compare. The common name of a Cloud SQL instance, `PROJECT:INSTANCE`, is no host name, and from 22.23 on
 * Node knows none but those: it is compared as Google's connectors do, letter for letter, whatever other names the certificate has.
 * See https://cloud.google.com/sql/docs/postgres/authorize-ssl and
 * https://github.com/GoogleCloudPlatform/cloud-sql-nodejs-connector/blob/main/src/socket.ts
 *
 * IP addresses are OpenSSL's to compare: Node 22.23.0 and .1, 24.17 and 24.18 find no address of version 6 in any certificate
 * (https://github.com/nodejs/node/issues/64144).
 */
export function identityError(name: string, certificate: PeerCertificate): Error | undefined {
  if (isIpAddress(name)) {
    const isFor = new X509Certificate(certificate.raw).checkIP(name) !== undefined
    return isFor
      ? undefined
      : mismatch(`IP: ${name} is not in the certificate's list: ${certificate.subjectaltname}`)
  }
  if (!name.includes(':')) return checkServerIdentity(name, certificate)
  // A certificate with several common names has a list of them here, and is for no instance.
  const commonName: unknown = certificate.subject?.CN
  return commonName === name
    ? undefined
    : mismatch(`the common name is not ${name}: ${String(commonName)}`)
}

function mismatch(reason: string): Error {
  return Object.assign(new Error(`the certificate of the server is for another one: ${reason}`), {
    code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    reason,
  })
}
