/** The signatures of the tokens that AWS's signers make: the part that is secret, and unlike anything else. */

type Signer<Method extends string> = Record<Method, () => Promise<string>>

/** Watches every signer of a class until the end of the test; the function that it returns gives the signatures so far. */
export function watchSignatures<Method extends string>(
  prototype: Signer<Method>,
  method: Method,
): () => readonly string[] {
  const signatures: string[] = []
  const sign = prototype[method]
  jest.spyOn(prototype as Signer<string>, method).mockImplementation(async function (
    this: Signer<string>,
  ) {
    const token = await sign.call(this)
    const [, signature] = /X-Amz-Signature=([0-9a-f]{64})/.exec(token) ?? []
    if (signature === undefined) throw new Error('the token has no signature')
    signatures.push(signature)
    return token
  })
  return () => signatures
}
