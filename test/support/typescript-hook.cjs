/**
 * Lets Node run TypeScript sources, for tests that need a separate process:
 * `node --require ./test/support/typescript-hook.cjs --eval "require('./core/errors.ts')"`.
 */
'use strict'
// oxlint-disable no-underscore-dangle -- Node 20 has no other way in
const { existsSync } = require('node:fs')
const Module = require('node:module')
const { dirname, resolve } = require('node:path')
const { transformFileSync } = require('@swc/core')
const { peerFolder } = require('../peers/resolve.cjs')

const compile = (module, file) => {
  const { code } = transformFileSync(file, {
    swcrc: false,
    sourceMaps: 'inline',
    jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
    module: { type: 'commonjs' },
  })
  module._compile(code, file)
}
require.extensions['.ts'] = compile
require.extensions['.cts'] = compile

// Sources import each other with the names of the build output, which end in `.js` or `.cjs`.
const resolveFilename = Module._resolveFilename
Module._resolveFilename = function (request, parent, ...rest) {
  if (request.startsWith('.') && /\.c?js$/.test(request) && parent?.filename !== undefined) {
    const source = resolve(dirname(parent.filename), request.replace(/js$/, 'ts'))
    if (existsSync(source)) return source
  }
  const folder = peerFolder(request, parent?.filename ?? '')
  const [, ...others] = rest
  return folder === undefined
    ? resolveFilename.call(this, request, parent, ...rest)
    : resolveFilename.call(this, request, parent, rest[0] ?? false, {
        ...others[0],
        paths: [folder],
      })
}
