import { type EndpointOptions, startGateway } from '../../../gateway/index.js'
import { errorFields, openTls, startup } from '../raw-client.js'
import { APP, currentUser, ENDPOINTS, OPEN, PLAIN, RDS } from '../several-endpoints.js'
import { usePostgres } from '../upstream-gateway.js'

const server = usePostgres()

describe('one connection too many', () => {
  it('is counted over all listeners, and told so in the words of its provider', async () => {
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

describe('the listeners', () => {
  it('take the ports that they are told to, and free all of them', async () => {
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

  it('are none where one of their ports is taken', async () => {
    const { port: taken } = await server.start()
    const probe = await server.start()
    const { port } = probe
    await probe.close()
    const endpoints: EndpointOptions[] = [
      { provider: 'none', hosts: [OPEN] },
      { provider: 'none', hosts: [PLAIN], listen: taken },
    ]
    await expect(server.start({ port, endpoints })).rejects.toMatchObject({ code: 'EADDRINUSE' })
    // Nothing was left listening there.
    expect((await server.start({ port })).port).toBe(port)
  })

  it('are those of endpoints alone where none shares the gateway’s', async () => {
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
  it('may be known by an address, for which TLS is verified', async () => {
    const own = await server.start({ endpoints: [{ provider: 'none', hosts: ['10.1.2.3'] }] })
    const client = await openTls(own, { servername: '', host: '10.1.2.3' })
    client.send(startup(APP))
    await client.next('Z')
    client.socket.destroy()
  })

  it('is passed over for a login without a host where no login is for it', async () => {
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

describe('roles that endpoints name', () => {
  it('exist by default, and log in', async () => {
    const own = await startGateway({
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
