import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;

/** Connects without TLS, by libpq's variables, and runs the statements of its input, which end with NUL. Prints a line for each. */
class Statements {
  public static void main(String[] given) throws Exception {
    String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE")
        + "?sslmode=disable&user=" + System.getenv("PGUSER") + "&password=" + System.getenv("PGPASSWORD");
    String input = new String(System.in.readAllBytes(), StandardCharsets.UTF_8);
    try (Connection connection = DriverManager.getConnection(url)) {
      connection.setClientInfo("ApplicationName", given[0]);
      for (String sql : input.split("\0")) System.out.println(run(connection, sql));
    }
  }

  private static String run(Connection connection, String sql) {
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      if (sql.contains("?")) statement.setString(1, System.getenv("PGDATABASE"));
      if (!statement.execute()) return "done";
      int rows = 0;
      try (ResultSet result = statement.getResultSet()) {
        while (result.next()) rows++;
      }
      return rows == 0 ? "no rows" : "rows";
    } catch (SQLException error) {
      return error.getSQLState() + " " + error.getMessage().split("\n")[0].replaceFirst("^ERROR: ", "");
    }
  }
}
