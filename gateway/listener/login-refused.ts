/** Carries a refusal from where it is found out to where the connection is ended. */
import type { Refusal } from '../auth/refusal.js'

/** An error that stands for a refusal. */
export function refused(refusal: Refusal): Error {
  return Object.assign(new Error(refusal.explanation), { refusal })
}

/** The refusal that an error stands for, if it stands for one. */
export function refusalOf(error: unknown): Refusal | undefined {
  return (error as { refusal?: Refusal }).refusal
}
