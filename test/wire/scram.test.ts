import { createScramClient } from '../../wire/scram.js'

// The example of RFC 7677, section 3, which contains the user. PostgreSQL takes the user from the startup packet.
const NONCE = 'rOprNGfwEbeRWgbNEkqO'
const SERVER_NONCE = `${NONCE}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0`
const SERVER_FIRST = `r=${SERVER_NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`

describe('createScramClient', () => {
  it('sends an empty user name', () => {
    expect(createScramClient('pencil', NONCE).clientFirst).toBe(`n,,n=,r=${NONCE}`)
  })

  it('uses a different nonce for each exchange', () => {
    expect(createScramClient('pencil').clientFirst).not.toBe(
      createScramClient('pencil').clientFirst,
    )
  })

  it('answers with the combined nonce and a proof', async () => {
    const final = await createScramClient('pencil', NONCE).clientFinal(SERVER_FIRST)
    expect(final).toMatch(
      /^c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj\)hNlF\$k0,p=[\w+/]{43}=$/,
    )
  })

  it.each([
    ['another nonce', SERVER_FIRST.replace(NONCE, 'x')],
    ['no nonce of its own', SERVER_FIRST.replace(SERVER_NONCE, NONCE)],
    ['no salt', SERVER_FIRST.replace(/s=[^,]*/, 's=')],
    ['no iterations', SERVER_FIRST.replace('i=4096', 'i=0')],
    ['iterations that are no number', SERVER_FIRST.replace('i=4096', 'i=many')],
    ['iterations for hours', SERVER_FIRST.replace('i=4096', 'i=4096000000')],
    ['nothing', ''],
  ])('rejects a server that answers with %s', async (_what, serverFirst) => {
    await expect(createScramClient('pencil', NONCE).clientFinal(serverFirst)).rejects.toThrow()
  })

  it('rejects a server that does not prove that it knows the password', async () => {
    const exchange = createScramClient('pencil', NONCE)
    expect(() => exchange.verify('v=')).toThrow()
    await exchange.clientFinal(SERVER_FIRST)
    for (const final of [
      '',
      'v=',
      'v=AAAA',
      `v=${Buffer.alloc(32).toString('base64')}`,
      'e=other-error',
    ])
      expect(() => exchange.verify(final)).toThrow('did not prove')
  })
})
