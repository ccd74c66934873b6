/** Bundles as they are deployed to AWS Lambda: one file with all that an application loads. */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { build } from 'esbuild'

/** A bundle, by what an application imports. */
export interface Bundle {
  readonly name: string
  readonly file: string
  readonly bytes: number
}

/** @param folder where the files go */
export async function makeBundles(folder: string): Promise<Bundle[]> {
  const bundles: Bundle[] = []
  for (const [name, contents] of Object.entries(APPLICATIONS)) {
    const file = join(folder, `${bundles.length}.cjs`)
    await build({
      stdin: { contents, resolveDir: process.cwd() },
      bundle: true,
      platform: 'node',
      target: 'node20',
      // As CDK's NodejsFunction and SAM do it. pg asks for pg-native, which nobody has to install.
      format: 'cjs',
      external: ['pg-native'],
      minify: true,
      outfile: file,
      logLevel: 'error',
    })
    bundles.push({ name, file, bytes: (await stat(file)).size })
  }
  return bundles
}

export const BUNDLED = {
  awsConnector: 'AWS connector',
  auroraDsql: 'pg-iam, Aurora DSQL, pg',
  azureAuth: '@azure/postgresql-auth, pg',
  entra: 'pg-iam, Entra ID, pg',
} as const

/** Each with the pool that its queries run on. */
const APPLICATIONS: Readonly<Record<string, string>> = {
  [BUNDLED.awsConnector]:
    "export { AuroraDSQLClient, AuroraDSQLPool } from '@aws/aurora-dsql-node-postgres-connector'",
  [BUNDLED.auroraDsql]: `export { auroraDsql } from 'pg-iam'
    export { createPool } from 'pg-iam/pg'`,
  [BUNDLED.azureAuth]: `export { entraTokenProvider } from '@azure/postgresql-auth'
    export { ManagedIdentityCredential } from '@azure/identity'
    export { Pool } from 'pg'`,
  [BUNDLED.entra]: `export { entra } from 'pg-iam'
    export { createPool } from 'pg-iam/pg'
    export { ManagedIdentityCredential } from '@azure/identity'`,
}
