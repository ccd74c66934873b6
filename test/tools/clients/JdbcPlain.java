import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;

/** Connects without TLS, by libpq's variables. Prints what it reads. */
class JdbcPlain {
  public static void main(String[] given) throws Exception {
    String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE")
        + "?sslmode=disable&user=" + System.getenv("PGUSER") + "&password=" + System.getenv("PGPASSWORD");
    try (Connection connection = DriverManager.getConnection(url)) {
      int sum = 0;
      try (PreparedStatement statement = connection.prepareStatement("SELECT n FROM generate_series(1, ?) AS n")) {
        // After five executions the driver uses a named statement.
        for (int round = 0; round < 8; round++) {
          statement.setInt(1, 10);
          try (ResultSet rows = statement.executeQuery()) {
            while (rows.next()) sum += rows.getInt(1);
          }
        }
      }
      System.out.println(sum);
      connection.createStatement().execute("SET statement_timeout = 5000");
      try (ResultSet rows = connection.createStatement().executeQuery("SHOW statement_timeout")) {
        rows.next();
        System.out.println(rows.getString(1));
      }
    }
  }
}
