/** Shared AWS files for a test, and an environment in which the SDK reads them and makes no network requests. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export interface AwsFiles {
  /** The environment variables to set. */
  readonly env: Readonly<Record<string, string>>
  remove(): void
}

/** Writes the two files, either of which may be empty. */
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
      // A request to the metadata service would leave the machine, and wait for a response.
      AWS_EC2_METADATA_DISABLED: 'true',
    },
    remove: () => rmSync(folder, { recursive: true }),
  }
}
