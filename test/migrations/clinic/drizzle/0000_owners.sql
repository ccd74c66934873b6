CREATE TABLE "owners" (
	"id" uuid PRIMARY KEY DEFAULT gen_random_uuid() NOT NULL,
	"first_name" varchar(30) NOT NULL,
	"last_name" varchar(30) NOT NULL,
	"address" varchar(255),
	"city" varchar(80),
	"telephone" varchar(20),
	"created_at" timestamp with time zone DEFAULT now() NOT NULL
);
