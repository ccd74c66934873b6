import { type EndpointOptions, startGateway } from '../../../gateway/index.js'
import { errorFields, openTls, startup } from '../raw-client.js'
import { APP, currentUser, ENDPOINTS, OPEN, PLAIN, RDS } from '../several-endpoints.js'
import { usePostgres } from '../upstream-gateway.js'

const server = usePostgres()

describe('a connection that exceeds "maxConnections"', () => {
  it('is counted across all listeners, and gets the error of its provider', async () => {
    const own = await server.start({ endpoints: ENDPOINTS, maxConnections: 1 })
    const first = await openTls(own, { servername: OPEN })
    first.send(startup(APP))
    await first.next('Z')
    const { port } = own.endpoints[2]!
    const second = await openTls({ ...own, port }, { servername: PLAIN })
    second.send(startup(APP))
    expect(errorFields(await second.next('E'))).toMatchObject({
      C: '53300',
      M: 'sorry, too many clients already',
    })
    await second.ended()
    first.socket.destroy()
  })
})

describe('the listeners of a gateway', () => {
  it('use the given ports, and release all of them', async () => {
    const probe = await server.start({ endpoints: ENDPOINTS })
    const ports = [probe.port, probe.endpoints[2]!.port]
    await probe.close()
    const [port, listen] = ports as [number, number]
    const endpoints = ENDPOINTS.map((each) =>
      each.provider === 'password' ? { ...each, listen } : each,
    )
    const own = await server.start({ port, endpoints })
    expect([own.port, own.endpoints[2]!.port]).toEqual(ports)
  })

  it('are all closed if one of the ports is in use', async () => {
    const { port: taken } = await server.start()
    const probe = await server.start()
    const { port } = probe
    await probe.close()
    const endpoints: EndpointOptions[] = [
      { provider: 'none', hosts: [OPEN] },
      { provider: 'none', hosts: [PLAIN], listen: taken },
    ]
    await expect(server.start({ port, endpoints })).rejects.toMatchObject({ code: 'EADDRINUSE' })
    // No listener was left on that port.
    expect((await server.start({ port })).port).toBe(port)
  })

  it('are only those of the endpoints if no endpoint uses the shared listener', async () => {
    const own = await server.start({
      endpoints: [
        { provider: 'none', hosts: [OPEN], listen: 0 },
        { provider: 'none', hosts: [OPEN], listen: 0 },
      ],
    })
    expect(own.port).toBe(own.endpoints[0]!.port)
    expect(own.endpoints[1]!.port).not.toBe(own.port)
  })
})

describe('an endpoint', () => {
  it('can have an IP address as its host, for which TLS is verified', async () => {
    const own = await server.start({ endpoints: [{ provider: 'none', hosts: ['10.1.2.3'] }] })
    const client = await openTls(own, { servername: '', host: '10.1.2.3' })
    client.send(startup(APP))
    await client.next('Z')
    client.socket.destroy()
  })

  it('without a login function is skipped for a login without a host', async () => {
    const own = await server.start({
      endpoints: [
        { provider: 'none', hosts: [OPEN] },
        { provider: 'rds', hosts: [RDS] },
      ],
    })
    expect(own.login()).toMatchObject({ provider: 'rds', host: RDS })
    const open = await server.start({ endpoints: [{ provider: 'none', hosts: [OPEN] }] })
    expect(() => open.login()).toThrow(expect.objectContaining({ code: 'ERR_OPTION_INVALID' }))
  })
})

describe('roles that only endpoints name', () => {
  it('exist by default, and can log in', async () => {
    const own = await startGateway({
      sql: 'postgres',
      endpoints: [
        { provider: 'password', hosts: [PLAIN], users: { shop: 'x' }, method: 'cleartext' },
      ],
    })
    try {
      expect(own.login().user).toBe('shop')
      expect(await currentUser(own, {})).toBe('shop')
    } finally {
      await own.close()
    }
  })
})
