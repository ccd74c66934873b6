/** Preloaded into the processes of the soak, to make a client misbehave deliberately. */
'use strict'
const { Client } = require('pg')

const WHEN_MS = 800

if (process.argv[1].endsWith('client.js')) {
  setTimeout(() => {
    throw new Error('the crash that was planted')
  }, WHEN_MS)
  // Sends a statement twice.
  setTimeout(() => {
    const { query } = Client.prototype
    Client.prototype.query = function (text, ...rest) {
      if (!String(text).startsWith('INSERT INTO leg')) return query.call(this, text, ...rest)
      query.call(this, text).catch(() => {})
      return query.call(this, text, ...rest)
    }
  }, WHEN_MS)
}
