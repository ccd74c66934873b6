/** Keeps what the machine knows of clouds and databases out of the measurements. */

/** What the benchmarks sign with. It belongs to nobody. */
export const CREDENTIALS = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
} as const

/** The same as the AWS SDK finds it in the environment. */
export const CREDENTIALS_ENVIRONMENT = {
  AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
  AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
} as const

/** Takes out what would lead a competitor to other credentials or another server. */
export function forgetCloud(environment: NodeJS.ProcessEnv): void {
  for (const name of Object.keys(environment)) if (LEADS_AWAY.test(name)) delete environment[name]
}

/** Variables of libpq, but for the one that says where PostgreSQL's programs are; of the clouds' SDKs; and of Node itself. */
const LEADS_AWAY = /^(?:PG(?!_BINDIR$)|AWS_|AZURE_|GOOGLE_|NODE_)/
