/** The query runner of a transaction of TypeORM, lent to the transaction's function and to nothing after it. */
import type { QueryRunner } from 'typeorm'
import { endsTransaction, transactionOver } from '../../core/conflict/transaction-lease.js'

/**
 * Has `runner` refuse statements from `end()` on. TypeORM (1.1) refuses them once it has released the runner, which is when
 * COMMIT was answered; one that comes while that is under way would run behind it, by itself.
 */
export function lendRunner(runner: QueryRunner): { end(): void } {
  const query: (...args: unknown[]) => Promise<unknown> = runner.query.bind(runner) as never
  const stream: (...args: unknown[]) => Promise<unknown> = runner.stream.bind(runner) as never
  let isOver = false
  Object.assign(runner, {
    query: (...args: unknown[]) =>
      isOver && !endsTransaction(args[0]) ? Promise.reject(transactionOver()) : query(...args),
    stream: (...args: unknown[]) => (isOver ? Promise.reject(transactionOver()) : stream(...args)),
  })
  return {
    end: () => {
      isOver = true
    },
  }
}
