/** The public surface of `pg-iam/sign-in`. */
export { createSignIn } from './sign-in.js'
export type { SignIn, SignInLimits, SignInOptions, SignOutOptions } from './sign-in.js'
export type { Session } from './sessions.js'
export { expressSessionStore, fileStore, memoryStore } from './session-store.js'
export type { ExpressSessionStore, MemoryStoreOptions, SessionStore } from './session-store.js'
export { onBehalfOf, webIdentity } from './identity-credentials.js'
export type {
  IdentityCredentials,
  OnBehalfOfOptions,
  SignedInIdentity,
  WebIdentityOptions,
} from './identity-credentials.js'
export { createCommandLineSignIn } from './command-line.js'
export type {
  CommandLineSignIn,
  CommandLineSignInOptions,
  SavedSignIn,
  SignInMethod,
  SignInProfile,
} from './command-line.js'
