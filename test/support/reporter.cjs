/** A reporter for jest: the contract's tables, the ten slowest files, and how long the run took. */
'use strict'
const { relative } = require('node:path')
const { countContract, renderContract } = require('./adapter-contract/contract-table.cjs')

const SLOWEST = 10

module.exports = function reporter() {
  return {
    onRunComplete(_contexts, { testResults, startTime }) {
      const counts = countContract(testResults.flatMap((file) => file.testResults))
      if (counts.byPromise.size > 0) print(renderContract(counts))
      if (testResults.length > SLOWEST) print(slowestFiles(testResults))
      print(`The run took ${inWords(Date.now() - startTime)}.`)
    },
  }
}

function slowestFiles(testResults) {
  const files = testResults
    .filter(({ perfStats }) => perfStats !== undefined)
    .toSorted((one, other) => other.perfStats.runtime - one.perfStats.runtime)
    .slice(0, SLOWEST)
    .map(({ perfStats, testFilePath }) => {
      const seconds = (perfStats.runtime / 1_000).toFixed(0)
      return `${seconds.padStart(5)} s  ${relative(process.cwd(), testFilePath)}`
    })
  return ['The slowest files:', ...files].join('\n')
}

function inWords(milliseconds) {
  const seconds = Math.round(milliseconds / 1_000)
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
}

function print(text) {
  process.stderr.write(`\n${text}\n`)
}
