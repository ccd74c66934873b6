/** A reporter for jest: prints the contract's tables after a run in which the contract took part. */
'use strict'
const { countContract, renderContract } = require('./contract-table.cjs')

module.exports = function contractReporter() {
  return {
    onRunComplete(_contexts, { testResults }) {
      const counts = countContract(testResults.flatMap((file) => file.testResults))
      if (counts.byPromise.size > 0) process.stderr.write(`\n${renderContract(counts)}\n`)
    },
  }
}
