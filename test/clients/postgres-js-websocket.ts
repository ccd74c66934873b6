/** Postgres.js over WebSocket for the tests. */
import type { Options } from 'postgres'
import { createWebSocketSql } from '../../adapters/postgres-js-websocket.js'
import type { Client } from './client.js'
import { openSql, postgresJsOptions, postgresJsRefusals } from './postgres-js.js'

export const client: Client = {
  name: 'postgres-js-websocket',
  entries: [
    {
      name: 'createWebSocketSql',
      options: postgresJsOptions,
      open: (login, options: Options<{}>) => openSql(createWebSocketSql(login, options)),
      refusesAt: 'construction',
      refusals: postgresJsRefusals,
      isWebSocket: true,
      own: 'protected',
      takesAgedBack: true,
      retiresIdle: true,
      reopensEarly: true,
    },
  ],
}
