/** NestJS and TypeORM, as an application that knows a password or none: its database is that of DATABASE_URL. */
import 'reflect-metadata'
import {
  Body,
  Controller,
  Delete,
  Get,
  HttpCode,
  Module,
  NotFoundException,
  Param,
  Post,
  Put,
} from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { InjectRepository, TypeOrmModule } from '@nestjs/typeorm'
import { Column, DataSource, Entity, PrimaryGeneratedColumn, Repository } from 'typeorm'

@Entity({ name: 'nest_notes' })
class Note {
  @PrimaryGeneratedColumn('uuid') id!: string
  @Column('text') body!: string
}

@Controller('notes')
class NotesController {
  constructor(@InjectRepository(Note) private readonly notes: Repository<Note>) {}

  @Post()
  create(@Body() { body }: { body: string }): Promise<Note> {
    return this.notes.save(this.notes.create({ body }))
  }

  @Get()
  list(): Promise<Note[]> {
    return this.notes.find()
  }

  @Get(':id')
  async find(@Param('id') id: string): Promise<Note> {
    const note = await this.notes.findOneBy({ id })
    if (note === null) throw new NotFoundException()
    return note
  }

  @Put(':id')
  @HttpCode(204)
  async update(@Param('id') id: string, @Body() { body }: { body: string }): Promise<void> {
    await this.notes.manager.transaction((manager) => manager.update(Note, { id }, { body }))
  }

  @Delete(':id')
  @HttpCode(204)
  async remove(@Param('id') id: string): Promise<void> {
    await this.notes.delete({ id })
  }
}

@Module({
  imports: [
    TypeOrmModule.forRoot({
      type: 'postgres',
      url: process.env['DATABASE_URL']!,
      entities: [Note],
      // Otherwise TypeORM installs an extension for it, which Aurora DSQL has not.
      installExtensions: false,
      uuidExtension: 'pgcrypto',
      extra: { max: 3 },
    }),
    TypeOrmModule.forFeature([Note]),
  ],
  controllers: [NotesController],
})
class AppModule {}

async function main(): Promise<void> {
  const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] })
  process.once('SIGTERM', () => void app.close())
  await app
    .get(DataSource)
    .query(
      'CREATE TABLE IF NOT EXISTS nest_notes (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), body text NOT NULL)',
    )
  await app.listen(Number(process.env['PORT']), '127.0.0.1')
  console.log(`listening on port ${new URL(await app.getUrl()).port}`)
}

void main()
