/** The signatures of AWS tokens: the part that is secret, and unlike anything else. */
import crypto from 'node:crypto'

/**
 * Watches, until the end of the test, what is signed by Signature Version 4 in this process; the function that it returns gives the
 * signatures so far. The gateway computes them, too, of the tokens that reach it, and those are the same.
 */
export function watchSignatures(): () => readonly string[] {
  const signatures: string[] = []
  const { createHmac } = crypto
  jest.spyOn(crypto, 'createHmac').mockImplementation((algorithm, key, options) => {
    const hmac = createHmac(algorithm, key, options)
    const update = hmac.update.bind(hmac) as (data: crypto.BinaryLike) => crypto.Hmac
    hmac.update = (data: crypto.BinaryLike): crypto.Hmac => {
      if (typeof data === 'string' && data.startsWith('AWS4-HMAC-SHA256\n'))
        signatures.push(createHmac(algorithm, key, options).update(data).digest('hex'))
      return update(data)
    }
    return hmac
  })
  return () => signatures
}
