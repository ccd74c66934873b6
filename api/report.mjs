/**
 * `npm run api` writes a report of the public types of each entry to `api/`; `npm run check:api` fails where one differs from what is
 * committed. A change of the public surface shows in the diff of a commit by that.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Extractor, ExtractorConfig, ExtractorLogLevel } from '@microsoft/api-extractor'

const folder = dirname(fileURLToPath(import.meta.url))
const root = dirname(folder)
const isCheck = process.argv.includes('--check')
const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const temporary = mkdtempSync(join(tmpdir(), 'pg-iam-api-'))
const changed = []

try {
  for (const [entry, target] of Object.entries(exports)) {
    if (typeof target === 'string') continue
    const name = entry === '.' ? 'pg-iam' : entry.slice(2)
    const { apiReportChanged, succeeded } = report(name, join(root, target.import.types))
    if (apiReportChanged) changed.push(`api/${name}.api.md`)
    if (!succeeded && !apiReportChanged) process.exitCode = 1
  }
} finally {
  rmSync(temporary, { recursive: true, force: true })
}
for (const file of changed) {
  process.stderr.write(isCheck ? `${file} differs: run \`npm run api\`\n` : `${file} written\n`)
}
if (isCheck && changed.length > 0) process.exitCode = 1

function report(name, declarations) {
  const compilerOptions = {
    module: 'nodenext',
    target: 'es2022',
    lib: ['es2023', 'dom'],
    strict: true,
    skipLibCheck: true,
    types: ['node'],
  }
  const config = ExtractorConfig.prepare({
    configObject: {
      projectFolder: root,
      mainEntryPointFilePath: declarations,
      compiler: { overrideTsconfig: { compilerOptions, files: [declarations] } },
      apiReport: {
        enabled: true,
        reportFileName: `${name}.api.md`,
        reportFolder: folder,
        reportTempFolder: temporary,
      },
      docModel: { enabled: false },
      dtsRollup: { enabled: false },
      tsdocMetadata: { enabled: false },
      messages: {
        compilerMessageReporting: { default: { logLevel: ExtractorLogLevel.Error } },
        extractorMessageReporting: { default: { logLevel: ExtractorLogLevel.None } },
        tsdocMessageReporting: { default: { logLevel: ExtractorLogLevel.None } },
      },
    },
    configObjectFullPath: undefined,
    packageJsonFullPath: join(root, 'package.json'),
  })
  return Extractor.invoke(config, {
    localBuild: !isCheck,
    messageCallback: (message) => {
      message.handled = true
      if (message.logLevel === ExtractorLogLevel.Error)
        process.stderr.write(`${name}: ${message.text}\n`)
    },
  })
}
