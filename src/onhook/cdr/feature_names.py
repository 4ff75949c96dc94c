"""Names of the features that a P-Series writes where a number belongs (yeastar-p-series.md 2.6), and how its web page
names them in other languages. Of its own, because it is a table. Pure.

Names that a person may have are left out; the setting `features` of a number plan takes any other.
"""

from collections.abc import Mapping

FEATURE_NAMES = (
    "Satisfaction Survey",
    "Play Prompt",
    "Play Greeting",
    "Custom Prompt",
    "Announcement",
    "Voicemail",
    "Check Voicemail",
    "Group Voicemail",
    "Leave Voicemail",
    "Dial by Name",
    "DISA",
    "Callback",
    "Hang Up",
    "Fax to Email",
    "Call Parking",
    "Echo Test",
    "Music on Hold",
    "Wakeup Call",
    "Wake-up Call",
    "Check Feature Code",
)

TELEPHONE_NAMES = ("Announcement", "Callback")
"""Features after which telephones are named: beside a number these names are a telephone's, in each language."""

# Spanish, German, French, Italian, Portuguese, Dutch, Polish, Czech, Turkish, Russian, Chinese (simplified and
# traditional); without accents they are the same.
FEATURE_TRANSLATIONS: Mapping[str, tuple[str, ...]] = {
    "Satisfaction Survey": (
        *("Encuesta de satisfacción", "Zufriedenheitsumfrage", "Umfrage zur Zufriedenheit", "Enquête de satisfaction"),
        *("Sondaggio di soddisfazione", "Indagine di soddisfazione", "Pesquisa de satisfação"),
        *("Inquérito de satisfação", "Tevredenheidsonderzoek", "Tevredenheidsenquête", "Ankieta satysfakcji"),
        *("Badanie satysfakcji", "Průzkum spokojenosti", "Memnuniyet anketi", "Опрос удовлетворенности"),
        *("Опрос удовлетворённости", "Оценка удовлетворенности", "满意度调查", "滿意度調查"),
    ),
    "Play Prompt": (
        *("Reproducir mensaje", "Reproducir aviso", "Ansage abspielen", "Ansage wiedergeben", "Lire l'annonce"),
        *("Riproduci messaggio", "Riproduci annuncio", "Reproduzir mensagem", "Bericht afspelen", "Odtwórz komunikat"),
        *("Přehrát hlášku", "Воспроизвести сообщение", "播放提示音", "播放語音提示", "播放语音提示"),
    ),
    "Custom Prompt": (
        *("Mensaje personalizado", "Aviso personalizado", "Benutzerdefinierte Ansage", "Annonce personnalisée"),
        *("Messaggio personalizzato", "Mensagem personalizada", "自定义提示音", "自訂提示音"),
    ),
    "Announcement": ("Anuncio", "Ansage", "Annonce", "Annuncio", "Anúncio", "Объявление", "公告"),
    "Voicemail": (
        *("Buzón de voz", "Correo de voz", "Sprachmailbox", "Anrufbeantworter", "Messagerie vocale", "Boîte vocale"),
        *("Casella vocale", "Segreteria telefonica", "Correio de voz", "Poczta głosowa", "Hlasová schránka"),
        *("Sesli mesaj", "Sesli posta", "Голосовая почта", "语音信箱", "语音邮箱", "語音信箱", "語音郵箱"),
    ),
    "Dial by Name": ("Marcar por nombre", "Wahl nach Name", "Wählen nach Name", "Appel par nom", "按姓名拨号"),
    "Callback": ("Devolución de llamada", "Rückruf", "Обратный звонок", "回拨", "回撥"),
    "Hang Up": (
        *("Colgar", "Auflegen", "Raccrocher", "Riagganciare", "Desligar", "Ophangen", "Zavěsit", "Повесить трубку"),
        *("Завершить вызов", "挂断", "掛斷"),
    ),
    "Fax to Email": ("Fax a correo electrónico", "Fax an E-Mail", "Fax vers e-mail", "Fax para e-mail", "传真到邮箱"),
    "Call Parking": (
        *("Estacionamiento de llamadas", "Aparcamiento de llamadas", "Parkage d'appel", "Parcheggio chiamata"),
        *("Estacionamento de chamadas", "Парковка вызова", "呼叫停泊", "通話駐留"),
    ),
    "Music on Hold": (
        *("Música en espera", "Wartemusik", "Musique d'attente", "Musica di attesa", "Musica d'attesa"),
        *("Música de espera", "Wachtmuziek", "Музыка на удержании", "等待音乐", "等待音樂", "保持音乐", "保留音樂"),
    ),
    "Wake-up Call": ("Llamada despertador", "Weckruf", "Appel de réveil", "叫醒服务", "叫醒服務", "叫醒电话"),
}
