/**
 * Has the sources under test, and all that they are tested with, take the peers from one of the folders beside this file, which
 * `PG_IAM_PEERS` names: the version of a peer that a test names, and the one that another package requires, must be the same.
 *
 * Jest uses it as its resolver; the processes that tests start, through `test/support/typescript-hook.cjs`.
 */
'use strict'
const { readFileSync } = require('node:fs')
const { join, sep } = require('node:path')

const folder = process.env['PG_IAM_PEERS']
const peers =
  folder === undefined
    ? []
    : Object.keys(JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).dependencies)

/** The folder to look for a package in, or `undefined` where that is the usual one. What is in the folder already resolves there. */
function peerFolder(request, from) {
  if (folder === undefined || from.startsWith(folder + sep)) return undefined
  return peers.some((name) => request === name || request.startsWith(`${name}/`))
    ? folder
    : undefined
}

module.exports = (request, options) =>
  options.defaultResolver(request, {
    ...options,
    basedir: peerFolder(request, options.basedir) ?? options.basedir,
  })
module.exports.peerFolder = peerFolder
