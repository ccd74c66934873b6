/** A reporter for jest: prints the contract's table of client by promise after a run in which the contract took part. */
'use strict'
const { mkdirSync, writeFileSync } = require('node:fs')
const { dirname } = require('node:path')
const { countContract, renderContract } = require('./contract-table.cjs')

/** @param {{ file?: string }} options `file`: also writes the table there, once all seven clients ran */
module.exports = function contractReporter(_globalConfig, options = {}) {
  return {
    onRunComplete(_contexts, { testResults }) {
      const counts = countContract(testResults.flatMap((file) => file.testResults))
      if (counts.clients.size === 0) return
      const table = renderContract(counts)
      process.stderr.write(`\n${table}\n`)
      if (options.file === undefined || counts.clients.size < CLIENTS) return
      mkdirSync(dirname(options.file), { recursive: true })
      writeFileSync(options.file, `# The contract of the adapters\n\n${table}`)
    },
  }
}

const CLIENTS = 7
