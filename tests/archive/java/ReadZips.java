import java.io.BufferedInputStream;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.HexFormat;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipInputStream;

/** Reads each archive given, by its directory and from front to back; one line for each entry. */
public class ReadZips {
    private static final byte[] buffer = new byte[65536];

    public static void main(String[] paths) throws Exception {
        for (String path : paths) {
            try (ZipFile archive = new ZipFile(path)) {
                for (ZipEntry entry : Collections.list(archive.entries())) {
                    try (InputStream content = archive.getInputStream(entry)) {
                        tell(path, "directory", entry, content);
                    }
                }
            }
            try (ZipInputStream archive =
                    new ZipInputStream(new BufferedInputStream(Files.newInputStream(Path.of(path))))) {
                for (ZipEntry entry = archive.getNextEntry(); entry != null; entry = archive.getNextEntry()) {
                    tell(path, "stream", entry, archive);
                }
            }
        }
    }

    private static void tell(String path, String reader, ZipEntry entry, InputStream content) throws Exception {
        CRC32 crc = new CRC32();
        long size = 0;
        for (int count = content.read(buffer); count >= 0; count = content.read(buffer)) {
            crc.update(buffer, 0, count);
            size += count;
        }
        String name = Path.of(path).getFileName().toString();
        String encoded = HexFormat.of().formatHex(entry.getName().getBytes("UTF-8"));
        String digest = HexFormat.of().toHexDigits(crc.getValue(), 8);
        System.out.println(name + " " + reader + " " + digest + " " + size + " " + encoded);
    }
}
