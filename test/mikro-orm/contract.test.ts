import { describeAdapterContract } from '../support/adapter-contract/describe-adapter-contract.js'
import { client } from './client.js'

describeAdapterContract(client)
