import {
  SCRAM,
  SCRAM_PLUS,
  scramHmac,
  scramKeys,
  type ScramServer,
  sha256,
  startScram,
} from '../../wire/scram.js'

// The example of RFC 7677, section 3.
const CLIENT_FIRST = 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO'
const NONCE = '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0'
const SALT = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64')
const CLIENT_FINAL =
  'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ='

const BINDING = sha256(Buffer.from('certificate'))

async function started(mechanism: typeof SCRAM | typeof SCRAM_PLUS, clientFirst: string) {
  const keys = await scramKeys('pencil', SALT, 4_096)
  const settings = { keys, salt: SALT, iterations: 4_096, channelBinding: BINDING }
  return startScram(mechanism, clientFirst, settings, NONCE)
}

describe('startScram', () => {
  it('produces the messages of the RFC 7677 example', async () => {
    const exchange = (await started(SCRAM, CLIENT_FIRST)) as ScramServer
    expect(exchange.serverFirst).toBe(
      'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
    )
    expect(exchange.answer(CLIENT_FINAL)).toEqual({
      serverFinal: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
    })
  })

  it.each([
    ['another proof', CLIENT_FINAL.replace('p=dHzb', 'p=AHzb'), { serverFinal: undefined }],
    ['a proof that is too short', CLIENT_FINAL.replace(/p=.*/, 'p=dHzb'), 'malformed'],
    ['no proof', CLIENT_FINAL.replace(/,p=.*/, ''), 'malformed'],
    ['an empty proof', CLIENT_FINAL.replace(/p=.*/, 'p='), 'malformed'],
    ['another nonce', CLIENT_FINAL.replace('r=rOpr', 'r=rOps'), 'malformed'],
    ['its own nonce alone', CLIENT_FINAL.replace(NONCE, ''), 'malformed'],
    ['another header', CLIENT_FINAL.replace('c=biws', 'c=eSws'), 'binding-wrong'],
    ['nothing', '', 'malformed'],
  ])('rejects a final message with %s', async (_what, final, answer) => {
    const exchange = (await started(SCRAM, CLIENT_FIRST)) as ScramServer
    expect(exchange.answer(final)).toEqual(answer)
  })

  const bound = (certificate: string): string =>
    Buffer.concat([
      Buffer.from('p=tls-server-end-point,,'),
      sha256(Buffer.from(certificate)),
    ]).toString('base64')

  /** The final message of a client that knows the password, with the given channel binding. */
  async function finalFor({ serverFirst }: ScramServer, c: string): Promise<string> {
    const { clientKey, storedKey } = await scramKeys('pencil', SALT, 4_096)
    const withoutProof = `c=${c},r=abc${NONCE}`
    const signature = scramHmac(storedKey, `n=,r=abc,${serverFirst},${withoutProof}`)
    const proof = Buffer.from(clientKey.map((byte, index) => byte ^ signature[index]!))
    return `${withoutProof},p=${proof.toString('base64')}`
  }

  it('accepts a client bound to the same certificate, and no other', async () => {
    const exchange = (await started(SCRAM_PLUS, 'p=tls-server-end-point,,n=,r=abc')) as ScramServer
    const right = await finalFor(exchange, bound('certificate'))
    expect(exchange.answer(right)).toEqual({ serverFinal: expect.stringMatching(/^v=/) as string })
    for (const c of [
      bound('another'),
      'biws',
      Buffer.from('p=tls-server-end-point,,').toString('base64'),
    ])
      expect(exchange.answer(await finalFor(exchange, c))).toBe('binding-wrong')
  })

  it.each([
    ['n,,n=user,r=abc', SCRAM_PLUS, 'malformed'],
    ['p=tls-server-end-point,,n=,r=abc', SCRAM, 'malformed'],
    ['p=tls-unique,,n=,r=abc', SCRAM_PLUS, 'malformed'],
    ['y,,n=,r=abc', SCRAM, 'binding-unused'],
    ['n,a=admin,n=,r=abc', SCRAM, 'malformed'],
    ['n,,m=extension,n=,r=abc', SCRAM, 'malformed'],
    ['n,,n=,r=', SCRAM, 'malformed'],
    ['n,,n=,r=a b', SCRAM, 'malformed'],
    ['n,,r=abc', SCRAM, 'malformed'],
    ['', SCRAM, 'malformed'],
  ] as const)('takes no first message %p (%s)', async (first, mechanism, fault) => {
    expect(await started(mechanism, first)).toBe(fault)
  })
})
