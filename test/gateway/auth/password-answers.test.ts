import * as fc from 'fast-check'
import { frontend, inChunks } from '../../wire/frontend-messages.js'
import { password } from '../raw-client.js'
import {
  currentUser,
  METHODS,
  PASSWORD,
  refusalOf,
  usePasswordGateway,
} from './password-gateway.js'
import { sasl } from './sasl.js'

const use = usePasswordGateway()

describe('an invalid password response', () => {
  it("in clear text is refused with PostgreSQL's error if it is empty", async () => {
    const { client } = await use.asked('cleartext')
    client.send(password(''))
    expect(await refusalOf(client)).toMatchObject({
      C: '28P01',
      M: 'empty password returned by client',
    })
    await use.log.refusal('password-missing')
  })

  it.each([
    ['the password itself', PASSWORD],
    ['nothing', ''],
    ['the hash of another salt', `md5${'0'.repeat(32)}`],
  ])('as an MD5 hash is refused if it is %s', async (_what, given) => {
    const { client } = await use.asked('md5')
    client.send(password(given))
    expect(await refusalOf(client)).toMatchObject({ C: '28P01' })
    await use.log.refusal('password-wrong')
  })

  it('is requested with a new salt for each login', async () => {
    const requests = await Promise.all([use.asked('md5'), use.asked('md5')])
    const [one, two] = requests.map(({ client, request }) => {
      client.socket.destroy()
      return request.subarray(4).toString('hex')
    })
    expect(one).toMatch(/^[0-9a-f]{8}$/)
    expect(one).not.toBe(two)
  })

  it.each(['cleartext', 'md5'])('(%s) is refused without its terminator', async (method) => {
    const { client } = await use.asked(method)
    client.send(frontend('p', Buffer.from('secret')))
    expect(await refusalOf(client)).toMatchObject({ C: '08P01' })
    await use.log.refusal('protocol-violation')
  })
})

describe('random bytes in place of a password', () => {
  const noise = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes))
  const cuts = fc.array(fc.nat(), { maxLength: 4 })
  const answer = fc.oneof(
    noise,
    noise.map((bytes) => frontend('p', bytes)),
    noise.map((bytes) => sasl('SCRAM-SHA-256', `n,,n=,r=${bytes.toString('latin1')}`)),
    fc.constant(sasl('SCRAM-SHA-256', 'n,,n=,r=abc')),
  )

  it.each(METHODS)('(%s) do not affect other clients', async (method) => {
    await fc.assert(
      fc.asyncProperty(fc.array(answer, { maxLength: 3 }), cuts, async (answers, places) => {
        const { client } = await use.asked(method)
        for (const chunk of inChunks(Buffer.concat(answers), places)) client.send(chunk)
        client.socket.end()
        await client.ended()
      }),
      { numRuns: 60 },
    )
    expect(await currentUser(use.client(method))).toBe('app')
    // Internal errors of the gateway would be among those of lost connections.
    const left = use.log.lines.filter(({ message }) =>
      message.endsWith('disconnected during its login'),
    )
    const codes = left.map(({ details }) => (details['error'] as { code?: string }).code)
    expect(codes.filter((code) => code !== 'ECONNRESET' && code !== 'EPIPE')).toEqual([])
    expect(use.log.lines.filter(({ level }) => level === 'error')).toEqual([])
  })
})
