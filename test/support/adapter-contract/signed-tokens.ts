/** The signatures of AWS tokens, which are their secret and unique part. */
import { DsqlSigner } from '@aws-sdk/dsql-signer'
import { Signer } from '@aws-sdk/rds-signer'

/** Records what the AWS signers sign in this process until the end of the test. The returned function returns the signatures so far. */
export function watchSignatures(): () => readonly string[] {
  const signatures: string[] = []
  const watch = <Method extends string>(
    prototype: Record<Method, () => Promise<string>>,
    method: Method,
  ): void => {
    const sign = prototype[method]
    jest
      .spyOn(prototype as Record<string, () => Promise<string>>, method)
      .mockImplementation(async function (this: unknown) {
        const token = await sign.call(this as typeof prototype)
        const [, signature] = /X-Amz-Signature=([0-9a-f]{64})/.exec(token) ?? []
        if (signature === undefined) throw new Error('the token has no signature')
        signatures.push(signature)
        return token
      })
  }
  watch(DsqlSigner.prototype, 'getDbConnectAuthToken')
  watch(DsqlSigner.prototype, 'getDbConnectAdminAuthToken')
  watch(Signer.prototype, 'getAuthToken')
  return () => signatures
}
