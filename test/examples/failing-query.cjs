/** Loaded before the demo (`node --require`), it has one query of one client fail: the third note that pg writes. */
'use strict'
const { Pool } = require('pg')

// oxlint-disable-next-line unbound-method -- it is called with its pool
const { query } = Pool.prototype
let notes = 0

Pool.prototype.query = function (text, ...rest) {
  if (typeof text === 'string' && text.startsWith('INSERT INTO demo_note') && ++notes === 3)
    return Promise.reject(new Error('the query that had to fail'))
  return query.call(this, text, ...rest)
}
