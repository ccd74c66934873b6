/** The time from nothing to the first token: import, credentials, signature. */
import { startEntraIssuer } from '../../test/support/issuers/entra-issuer.js'
import { startManagedIdentity } from '../../test/support/issuers/managed-identity.js'
import type { BenchContext, Comparison, ComparisonSection } from '../frame/benchmark.js'
import { compare, controlName, type Effort } from '../frame/compare.js'
import type { Competitor } from '../frame/rounds.js'
import { BUNDLED, type Bundle } from './bundles.js'
import { coldStart, type ColdStartOrder, type Format, type TokenWay } from './cold-start.js'

type Environment = Readonly<Record<string, string>>

export async function firstTokens(
  bundles: readonly Bundle[],
  context: BenchContext,
  effort: Effort,
): Promise<ComparisonSection> {
  const issuer = await startEntraIssuer()
  const identity = await startManagedIdentity(issuer, () => ({}))
  const comparisons: Comparison[] = []
  try {
    for (const { name, programs } of contests(bundles)) {
      context.progress(`first token, ${name}`)
      const [baseline, ...others] = programs.map((program) => competitorOf(program, identity.env))
      const control = { ...baseline!, name: controlName(baseline!.name) }
      comparisons.push(
        await compare({ name, baseline: baseline!, control, others }, effort, context),
      )
    }
  } finally {
    await identity.close()
    await issuer.close()
  }
  return {
    kind: 'comparison',
    name: 'first-token',
    title: 'Import and first token in a new process',
    notes: [
      'For Aurora DSQL the credentials are in the environment. For Entra ID a managed identity gets its token from an endpoint on',
      'this machine, by the same credential of @azure/identity. "With pg" loads the pool, too, as the AWS connector always does.',
      '"AWS\'s signer alone" is @aws-sdk/dsql-signer, which the AWS connector and pg-iam sign with; with its built-in signer pg-iam loads',
      'nothing of AWS. On Node 20 half of what pg takes by itself is that it makes a Response to see whether it runs at Cloudflare, for which',
      'Node loads its fetch; later versions are told by `navigator`.',
    ],
    unit: 'ms',
    better: 'less',
    comparisons,
  }
}

interface Program {
  readonly name: string
  readonly order: ColdStartOrder
}

/** The first program of each is the baseline. */
function contests(bundles: readonly Bundle[]): { name: string; programs: Program[] }[] {
  const fileOf = (name: string): string => bundles.find((bundle) => bundle.name === name)!.file
  const program = (
    name: string,
    format: Format,
    token: TokenWay | undefined,
    modules: readonly string[],
  ): Program => ({
    name,
    order: { format, modules, ...(token === undefined ? {} : { token }) },
  })
  const inFormat = (format: Format): { name: string; programs: Program[] }[] => [
    {
      name: `Aurora DSQL, ${FORMATS[format]}`,
      programs: [
        program('AWS connector', format, 'AWS connector', [CONNECTOR]),
        program("AWS's signer alone", format, 'AWS signer', ['@aws-sdk/dsql-signer']),
        program('pg-iam', format, 'pg-iam, Aurora DSQL', ['pg-iam']),
        program('pg-iam with pg', format, 'pg-iam, Aurora DSQL', ['pg-iam', 'pg-iam/pg']),
        program('pg-iam, built-in signer', format, BUILT_IN, ['pg-iam']),
        program('pg-iam with pg, built-in signer', format, BUILT_IN, ['pg-iam', 'pg-iam/pg']),
        program('pg alone, no token', format, undefined, ['pg']),
      ],
    },
    {
      name: `Entra ID, ${FORMATS[format]}`,
      programs: [
        program('@azure/postgresql-auth with pg', format, '@azure/postgresql-auth', [
          '@azure/postgresql-auth',
          '@azure/identity',
          'pg',
        ]),
        program('pg-iam with pg', format, 'pg-iam, Entra ID', [
          'pg-iam',
          'pg-iam/pg',
          '@azure/identity',
        ]),
      ],
    },
  ]
  const bundled = (name: string, token: TokenWay): Program =>
    program(name, 'cjs', token, [fileOf(name)])
  return [
    ...inFormat('esm'),
    ...inFormat('cjs'),
    {
      name: 'Aurora DSQL, bundle',
      programs: [
        bundled(BUNDLED.awsConnector, 'AWS connector'),
        bundled(BUNDLED.auroraDsql, 'pg-iam, Aurora DSQL'),
        bundled(BUNDLED.auroraDsqlBuiltIn, BUILT_IN),
      ],
    },
    {
      name: 'Aurora DSQL, bundle without the AWS SDK',
      programs: [
        bundled(BUNDLED.awsConnectorOnLambda, 'AWS connector'),
        bundled(BUNDLED.auroraDsqlOnLambda, 'pg-iam, Aurora DSQL'),
      ],
    },
    {
      name: 'Entra ID, bundle',
      programs: [
        bundled(BUNDLED.azureAuth, '@azure/postgresql-auth'),
        bundled(BUNDLED.entra, 'pg-iam, Entra ID'),
      ],
    },
  ]
}

const BUILT_IN = 'pg-iam, Aurora DSQL, built-in signer'
const CONNECTOR = '@aws/aurora-dsql-node-postgres-connector'
const FORMATS: Readonly<Record<Format, string>> = { esm: 'ESM', cjs: 'CommonJS' }

function competitorOf({ name, order }: Program, environment: Environment): Competitor {
  return { name, sample: async () => (await coldStart(order, environment)).totalMs }
}
