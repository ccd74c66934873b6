/** Shared AWS files of a test's own, and an environment in which the SDK reads them and never leaves the machine. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface AwsFiles {
  /** What to put into the environment. */
  readonly env: Readonly<Record<string, string>>
  remove(): void
}

/** Writes the two files; both may be empty. */
export function createAwsFiles({
  config = '',
  credentials = '',
}: {
  config?: string
  credentials?: string
}): AwsFiles {
  const folder = mkdtempSync(join(tmpdir(), 'pg-iam-aws-'))
  const configPath = join(folder, 'config')
  const credentialsPath = join(folder, 'credentials')
  writeFileSync(configPath, config)
  writeFileSync(credentialsPath, credentials)
  return {
    env: {
      HOME: folder,
      AWS_CONFIG_FILE: configPath,
      AWS_SHARED_CREDENTIALS_FILE: credentialsPath,
      // Asking the metadata service of a cloud machine would leave this one, and wait for an answer.
      AWS_EC2_METADATA_DISABLED: 'true',
    },
    remove: () => rmSync(folder, { recursive: true }),
  }
}
