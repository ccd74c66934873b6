/** The application context of Nest reads and writes through a repository of TypeORM. */
import 'reflect-metadata'
import { Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { getRepositoryToken, TypeOrmModule } from '@nestjs/typeorm'
import { typeormTransaction } from 'pg-iam/typeorm'
import { Column, DataSource, Entity, PrimaryColumn, type Repository } from 'typeorm'
import { DatabaseModule } from './nest-typeorm.js'
import { report } from './report.js'

@Entity({ name: 'nest_typeorm' })
class Note {
  @PrimaryColumn('int') id!: number
  @Column('text') body!: string
}

@Module({ imports: [DatabaseModule, TypeOrmModule.forFeature([Note])] })
class AppModule {}

const app = await NestFactory.createApplicationContext(AppModule, { logger: false })
const dataSource = app.get(DataSource)
await dataSource.query('CREATE TABLE nest_typeorm (id int PRIMARY KEY, body text)')
await typeormTransaction(dataSource, (manager) => manager.insert(Note, { id: 1, body: 'one' }))
const notes = await app.get<Repository<Note>>(getRepositoryToken(Note)).find()
await app.close()
report(notes)
