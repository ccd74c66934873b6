/** The signature of a request to an AWS API, parsed without the SDK that signed it. */
import { createHash, createHmac } from 'node:crypto'
import type { LoopbackRequest } from '../issuers/loopback-server.js'

export interface Signer {
  readonly accessKeyId: string
  readonly region: string
  readonly service: string
  readonly sessionToken: string | undefined
  /** Whether the request was signed with this key and was not changed. */
  hasSignedWith(secretAccessKey: string): boolean
}

/** Signature Version 4, in the `Authorization` header: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html */
export function signerOf(request: LoopbackRequest): Signer | undefined {
  const match =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(
      header(request, 'authorization'),
    )
  if (match === null) return undefined
  const [, accessKeyId = '', date = '', region = '', service = '', headers = '', signature] = match
  return {
    accessKeyId,
    region,
    service,
    sessionToken: header(request, 'x-amz-security-token') || undefined,
    hasSignedWith(secretAccessKey) {
      const scope = `${date}/${region}/${service}/aws4_request`
      const canonical = sha256(canonicalRequest(request, headers))
      const toSign = `AWS4-HMAC-SHA256\n${header(request, 'x-amz-date')}\n${scope}\n${canonical}`
      const key = [date, region, service, 'aws4_request'].reduce<string | Buffer>(
        hmac,
        `AWS4${secretAccessKey}`,
      )
      return hmac(key, toSign).toString('hex') === signature
    },
  }
}

function canonicalRequest(request: LoopbackRequest, signedHeaders: string): string {
  const headers = signedHeaders
    .split(';')
    .map((name) => `${name}:${header(request, name).trim().replace(/ +/g, ' ')}\n`)
  return [
    request.method,
    request.path,
    '',
    headers.join(''),
    signedHeaders,
    sha256(request.body),
  ].join('\n')
}

function header({ headers }: LoopbackRequest, name: string): string {
  return String(headers[name] ?? '')
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}
