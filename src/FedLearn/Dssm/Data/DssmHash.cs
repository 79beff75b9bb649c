using System.Text;
using FedLearn.Data;
using FedLearn.Numerics;

namespace FedLearn.Dssm;

/// <summary>Hash functions of words and n-grams; the same everywhere, and no secret.</summary>
internal static class DssmHash
{
    private const ulong Offset = 0xCBF29CE484222325, Prime = 0x100000001B3;

    /// <summary>FNV-1a of 64 bits (Fowler, Noll and Vo).</summary>
    public static ulong Fnv1a(ReadOnlySpan<byte> bytes)
    {
        unchecked
        {
            ulong hash = Offset;
            foreach (byte b in bytes)
                hash = (hash ^ b) * Prime;
            return hash;
        }
    }

    /// <summary>FNV-1a over the characters of a text, for what needs a number that is the same in every run, as that of string.GetHashCode is not.</summary>
    public static ulong Fnv1aOfChars(string text)
    {
        unchecked
        {
            ulong hash = Offset;
            foreach (char c in text)
                hash = (hash ^ c) * Prime;
            return hash;
        }
    }

    /// <summary>Bucket of an entry under the function of a number from 0. Further functions mix all 64 bits of the first: FNV-1a of a longer text would not do, since
    /// entries that meet in 2^k buckets would meet again whatever is appended to both.</summary>
    public static int Bucket(ulong hash, int function, int buckets)
    {
        unchecked
        {
            return (int)((function == 0 ? hash : SplitMix64.Mix(hash + ((ulong)function * SplitMix64.Golden))) % (ulong)buckets);
        }
    }

    /// <summary>Adds the hashes of the n-grams of a text, of as many characters (Unicode scalar values) each, word by word: #word#. A padded word shorter than an n-gram is one entry.</summary>
    public static void Ngrams(string text, int length, List<ulong> hashes)
    {
        var word = new List<Rune>();
        foreach (Rune rune in NormalFormC.Of(text).EnumerateRunes())
        {
            if (Rune.IsLetterOrDigit(rune))
                word.Add(Rune.ToLowerInvariant(rune));
            else
                End();
        }

        End();

        void End()
        {
            if (word.Count == 0)
                return;
            word.Insert(0, new Rune('#'));
            word.Add(new Rune('#'));
            Span<byte> bytes = stackalloc byte[4 * length];
            for (int start = 0; start == 0 || start + length <= word.Count; start++)
            {
                int used = 0;
                for (int i = start; i < Math.Min(start + length, word.Count); i++)
                    used += word[i].EncodeToUtf8(bytes[used..]);
                hashes.Add(Fnv1a(bytes[..used]));
            }

            word.Clear();
        }
    }

    /// <summary>Hashes of the words of a text, which blanks or | separate.</summary>
    public static void Words(string text, List<ulong> hashes)
    {
        foreach (string word in NormalFormC.Of(text).Split([' ', '\t', '|'], StringSplitOptions.RemoveEmptyEntries))
            hashes.Add(Fnv1a(Encoding.UTF8.GetBytes(word)));
    }
}
