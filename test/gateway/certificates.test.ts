import { createPrivateKey, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer } from 'node:tls'
import { createCertificates, type GatewayCertificates } from '../../gateway/certificates.js'

const NAMES = ['abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws', 'localhost', '127.0.0.1', '::1']

describe('createCertificates', () => {
  let made: GatewayCertificates
  let authority: X509Certificate
  let server: X509Certificate
  beforeAll(async () => {
    made = await createCertificates(NAMES)
    authority = new X509Certificate(made.ca)
    server = new X509Certificate(made.certificate)
  })

  it('creates an authority that signs the server certificate, which cannot sign others', () => {
    expect(authority.ca).toBe(true)
    expect(authority.verify(authority.publicKey)).toBe(true)
    expect(server.ca).toBe(false)
    expect(server.checkIssued(authority)).toBe(true)
    expect(server.verify(authority.publicKey)).toBe(true)
    expect(server.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1'])
  })

  it('includes exactly the given hosts and addresses', () => {
    expect(server.checkHost(NAMES[0]!)).toBe(NAMES[0])
    expect(server.checkHost('localhost')).toBe('localhost')
    expect(server.checkIP('127.0.0.1')).toBe('127.0.0.1')
    expect(server.checkIP('::1')).toBe('::1')
    expect(server.checkHost('example.com')).toBeUndefined()
    expect(server.checkIP('127.0.0.2')).toBeUndefined()
  })

  it('creates certificates that are valid since a day ago and for most of a year', () => {
    const ends = Date.parse(server.validTo) - Date.now()
    expect(Date.parse(server.validFrom)).toBeLessThan(Date.now() - 86_000_000)
    expect(ends).toBeGreaterThan(300 * 86_400_000)
    expect(ends).toBeLessThan(398 * 86_400_000)
  })

  it('returns the private key of the server, not of the authority', () => {
    const key = createPrivateKey(made.privateKey)
    expect(server.checkPrivateKey(key)).toBe(true)
    expect(authority.checkPrivateKey(key)).toBe(false)
  })

  it('creates new keys and certificates each time', async () => {
    const other = await createCertificates(['localhost'])
    expect(other.ca).not.toBe(made.ca)
    expect(new X509Certificate(other.certificate).verify(authority.publicKey)).toBe(false)
  })

  it.each([
    { constrainedTo: ['localhost', '127.0.0.1', '::1'], error: undefined },
    { constrainedTo: ['example.com', '127.0.0.1', '::1'], error: 'permitted subtree violation' },
    { constrainedTo: ['localhost', '127.0.0.2', '::1'], error: 'permitted subtree violation' },
    {
      constrainedTo: ['localhost', '127.0.0.1', '2001:db8::ff00:42:8329'],
      error: 'permitted subtree violation',
    },
  ])(
    'limits the authority to $constrainedTo, which TLS clients enforce ($error)',
    async ({ constrainedTo, error }) => {
      const names = ['localhost', '127.0.0.1', '::1']
      const { ca, certificate, privateKey } = await createCertificates(names, { constrainedTo })
      const listener = createServer({ cert: certificate, key: privateKey }, (socket) =>
        socket.end(),
      )
      listener.on('tlsClientError', () => {}).listen(0, '127.0.0.1')
      await once(listener, 'listening')
      const { port } = listener.address() as AddressInfo
      const socket = connect({ host: '127.0.0.1', port, servername: 'localhost', ca })
      const outcome = await new Promise((resolve) => {
        socket.once('secureConnect', () => resolve(undefined))
        socket.once('error', (failure: Error) => resolve(failure.message))
      })
      socket.destroy()
      listener.close()
      expect(outcome).toBe(error)
    },
  )
})
