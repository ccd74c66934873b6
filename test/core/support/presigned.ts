/** The contents of a token, parsed without the code under test. */

export interface Presigned {
  host: string
  action: string | null
  accessKeyId: string
  /** Date, region, service and the constant at the end. */
  scope: string
  date: string | null
  expires: string | null
  sessionToken: string | null
}

export function presigned(token: string): Presigned {
  const url = new URL(`https://${token}`)
  const of = (name: string): string | null => url.searchParams.get(name)
  const [accessKeyId = '', ...scope] = (of('X-Amz-Credential') ?? '').split('/')
  return {
    host: url.host,
    action: of('Action'),
    accessKeyId,
    scope: scope.join('/'),
    date: of('X-Amz-Date'),
    expires: of('X-Amz-Expires'),
    sessionToken: of('X-Amz-Security-Token'),
  }
}
