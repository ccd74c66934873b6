/** A stand-in for AWS STS on loopback, which the SDK is pointed to by AWS_ENDPOINT_URL_STS. */
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface AssumeRoleRequest {
  /** The access key that signed the request. */
  accessKeyId: string
  parameters: Record<string, string>
}

export interface RoleCredentials {
  accessKeyId: string
  secretAccessKey: string
  sessionToken: string
  expiration: Date
}

export interface StsStandIn {
  readonly url: string
  readonly requests: readonly AssumeRoleRequest[]
  close(): Promise<void>
}

/** Starts it. `answer` gives the credentials of a role, or the code of an error. */
export async function startStsStandIn(
  answer: (request: AssumeRoleRequest, count: number) => RoleCredentials | string,
): Promise<StsStandIn> {
  const requests: AssumeRoleRequest[] = []
  const server = createServer((request, response) => {
    void bodyOf(request).then((body) => {
      const [, accessKeyId = ''] =
        /Credential=([^/]+)/.exec(request.headers.authorization ?? '') ?? []
      const received = { accessKeyId, parameters: Object.fromEntries(new URLSearchParams(body)) }
      requests.push(received)
      const given = answer(received, requests.length)
      response.writeHead(typeof given === 'string' ? 403 : 200, { 'content-type': 'text/xml' })
      return response.end(typeof given === 'string' ? errorXml(given) : credentialsXml(given))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    async close() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}

function credentialsXml({
  accessKeyId,
  secretAccessKey,
  sessionToken,
  expiration,
}: RoleCredentials): string {
  return `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
    <AccessKeyId>${accessKeyId}</AccessKeyId><SecretAccessKey>${secretAccessKey}</SecretAccessKey>
    <SessionToken>${sessionToken}</SessionToken><Expiration>${expiration.toISOString()}</Expiration>
  </Credentials></AssumeRoleResult></AssumeRoleResponse>`
}

function errorXml(code: string): string {
  return `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>${code}</Code>
    <Message>refused by the stand-in</Message></Error></ErrorResponse>`
}
