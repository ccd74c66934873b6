/** The signatures of the tokens that are made: the part that is secret, and unlike anything else. */
import { DsqlSigner } from '@aws-sdk/dsql-signer'

/** Watches every signer until the end of the test; the function that it returns gives the signatures so far. */
export function watchSignatures(): () => readonly string[] {
  const signatures: string[] = []
  const sign: () => Promise<string> = Reflect.get(DsqlSigner.prototype, 'getDbConnectAuthToken')
  jest.spyOn(DsqlSigner.prototype, 'getDbConnectAuthToken').mockImplementation(async function (
    this: DsqlSigner,
  ) {
    const token = await sign.call(this)
    const [, signature] = /X-Amz-Signature=([0-9a-f]{64})/.exec(token) ?? []
    if (signature === undefined) throw new Error('the token has no signature')
    signatures.push(signature)
    return token
  })
  return () => signatures
}
