import type { ClientConfig } from 'pg'
import { createScramClient } from '../../../wire/scram.js'
import { frontend, int32, text } from '../../wire/frontend-messages.js'
import { openTls, password, startup } from '../raw-client.js'
import {
  APP,
  currentUser,
  hostOf,
  PASSWORD,
  refusalOf,
  usePasswordGateway,
} from './password-gateway.js'
import { sasl } from './sasl.js'

const use = usePasswordGateway()

describe('a SCRAM exchange with the gateway', () => {
  it('offers channel binding first', async () => {
    const { client, request } = await use.asked('scram-sha-256')
    expect(request.toString('latin1', 4)).toBe('SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0')
    client.socket.destroy()
  })

  it('accepts a client that uses channel binding', async () => {
    const settings = { enableChannelBinding: true } as ClientConfig
    expect(await currentUser(use.client('scram-sha-256', settings))).toBe('app')
  })

  it('sends the server signature before the client is accepted', async () => {
    const { client } = await use.asked('scram-sha-256')
    const exchange = createScramClient(PASSWORD)
    client.send(sasl('SCRAM-SHA-256', exchange.clientFirst))
    const first = (await client.next('R')).body.toString('utf8', 4)
    client.send(frontend('p', Buffer.from(await exchange.clientFinal(first))))
    const final = (await client.next('R')).body
    expect(final.readInt32BE()).toBe(12)
    exchange.verify(final.toString('utf8', 4))
    expect((await client.next('R')).body).toEqual(int32(0))
    client.socket.destroy()
  })

  it('sends the same salt for a role each time, whether it has a password or not', async () => {
    const saltOf = async (user: string): Promise<string | undefined> => {
      const client = await openTls(use.gateway(), { servername: hostOf('scram-sha-256') })
      client.send(startup({ ...APP, user }), sasl('SCRAM-SHA-256', 'n,,n=,r=abc'))
      await client.next('R')
      const { body } = await client.next('R')
      client.socket.destroy()
      return /,s=([^,]+),i=4096$/.exec(body.toString('utf8', 4))?.[1]
    }
    const [known, again, unknown, unknownAgain] = await Promise.all(
      ['app', 'app', 'nobody', 'nobody'].map(saltOf),
    )
    expect(known).toBe(again)
    expect(unknown).toBe(unknownAgain)
    expect(known).toMatch(/^[\w+/]{22}==$/)
    expect(unknown).toMatch(/^[\w+/]{22}==$/)
    expect(known).not.toBe(unknown)
  })

  const answers: [what: string, answer: Buffer, code: string, reason: string][] = [
    ['another mechanism', sasl('SCRAM-SHA-1', 'n,,n=,r=abc'), '08P01', 'protocol-violation'],
    ['a password', password(PASSWORD), '08P01', 'protocol-violation'],
    ['nothing', frontend('p'), '08P01', 'protocol-violation'],
    [
      'a wrong length',
      frontend('p', text('SCRAM-SHA-256'), int32(99), Buffer.from('n,,n=,r=abc')),
      '08P01',
      'protocol-violation',
    ],
    ['no nonce', sasl('SCRAM-SHA-256', 'n,,n=,r='), '08P01', 'protocol-violation'],
    [
      'another identity',
      sasl('SCRAM-SHA-256', 'n,a=admin,n=,r=abc'),
      '08P01',
      'protocol-violation',
    ],
    [
      'binding without its mechanism',
      sasl('SCRAM-SHA-256', 'p=tls-server-end-point,,n=,r=abc'),
      '08P01',
      'protocol-violation',
    ],
    [
      'the mechanism without binding',
      sasl('SCRAM-SHA-256-PLUS', 'n,,n=,r=abc'),
      '08P01',
      'protocol-violation',
    ],
    [
      'that the server offers no channel binding',
      sasl('SCRAM-SHA-256', 'y,,n=,r=abc'),
      '28000',
      'channel-binding-wrong',
    ],
  ]
  it.each(answers)('is refused if the client sends %s', async (_what, answer, code, reason) => {
    const { client } = await use.asked('scram-sha-256')
    client.send(answer)
    expect(await refusalOf(client)).toMatchObject({ S: 'FATAL', C: code })
    await use.log.refusal(reason)
  })
})
