package clhaystack;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.lucene.analysis.th.ThaiTokenizer;
import org.opensearch.index.analysis.PreBuiltAnalyzerProviderFactory;

/**
 * A trimmed Java without the Thai locale cannot build the "thai" analyzer, and OpenSearch builds every analyzer for
 * each new index: there, and only there, the analysis plugin must not offer it.
 */
final class WithoutThai {
    private static final String THAI = "thai";

    private WithoutThai() {}

    static <V> Map<String, V> map(Map<String, V> analyzers) {
        if (ThaiTokenizer.DBBI_AVAILABLE) {
            return analyzers;
        }
        Map<String, V> kept = new HashMap<>(analyzers);
        kept.remove(THAI);
        return kept;
    }

    static List<PreBuiltAnalyzerProviderFactory> list(List<PreBuiltAnalyzerProviderFactory> analyzers) {
        if (ThaiTokenizer.DBBI_AVAILABLE) {
            return analyzers;
        }
        List<PreBuiltAnalyzerProviderFactory> kept = new ArrayList<>(analyzers);
        kept.removeIf(factory -> factory.getName().equals(THAI));
        return kept;
    }
}
