/** Gives the tests what a page can import. */
import * as pgIam from 'pg-iam'
import { createWebSocketSql } from 'pg-iam/postgres-js-websocket'

Object.assign(globalThis, { pgIam, createWebSocketSql })
